// The verdict of a record in a word.

export function outcome(verdict) {
  if (verdict.unverifiable) {
    return "could not be replayed";
  }
  return verdict.flagged ? "flagged" : "not flagged";
}
