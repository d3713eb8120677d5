// Characters that do not show, or that turn others around, made visible: a log must not be able to forge what is read.

// Controls and formats (bidirectional overrides, zero widths, tags), line and paragraph separators, private use, and
// halves of a pair.
const UNSEEN = /(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}]/gu;

export function visible(text) {
  return String(text).replace(UNSEEN, (character) => `⟨U+${hex(character)}⟩`);
}

// As in `visible`; line ends and tabs also leave a sign.
export function visibleToken(text) {
  return visible(text.replaceAll("\n", "⏎\n").replaceAll("\t", "⇥\t"));
}

function hex(character) {
  return character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
}
