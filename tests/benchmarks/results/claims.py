"""The sentences of the documents that state results, each beside the figures that the results files give."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.attackers.results import LUCK_BITS, SEED_BITS
from benchmarks.guarantees.all_channels import TOKENS_PER_DAY
from benchmarks.release.__main__ import TICK_MS
from benchmarks.release.large_server import LARGE, SMALL
from benchmarks.results.page import FILES
from benchmarks.results.tables.admissible_sets import ADMISSIBLE_SETS
from benchmarks.results.tables.all_channels import ALL_CHANNELS
from benchmarks.results.tables.attackers import ATTACKERS
from benchmarks.results.tables.cascade import CASCADE
from benchmarks.results.tables.cluster import CLUSTER_DRIVER, CLUSTER_SPEED
from benchmarks.results.tables.egress import EGRESS
from benchmarks.results.tables.egress_speed import EGRESS_SPEED
from benchmarks.results.tables.exact import EXACT
from benchmarks.results.tables.gpu import GPU
from benchmarks.results.tables.grammar_cost import GRAMMAR_COST
from benchmarks.results.tables.honest_capital import HONEST_CAPITAL
from benchmarks.results.tables.limits import LIMITS
from benchmarks.results.tables.month import MONTH
from benchmarks.results.tables.noise_models import NOISE_MODELS
from benchmarks.results.tables.random_requests import RANDOM_REQUESTS
from benchmarks.results.tables.release_jitter import RELEASE_JITTER
from benchmarks.results.tables.release_pace import RELEASE_PACE, ReleasePaceRow
from benchmarks.results.tables.side_channels import SIDE_CHANNELS, SideChannelRow
from benchmarks.results.tables.sidecar_cost import SIDECAR_STEADY
from benchmarks.results.tables.speculation import SPECULATION
from benchmarks.results.tables.tokens_to_alarm import TOKENS_TO_ALARM
from benchmarks.results.tables.trade_off import TRADE_OFF
from benchmarks.results.tables.ways_out import WAYS_OUT
from benchmarks.results.tables.year import YEAR
from tests.places import BUNDLED_POLICY
from tests.recorded import FILTERED, records_of
from weightwarden.cli.options.effect_sizes import read_effect_sizes
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.policy.file import read_policy

RESULTS = "docs/results.md"
README = "README.md"
DESIGN = "docs/design.md"
OPERATOR = "docs/operator.md"

VOCABULARY = 49_152
"""The tokens of the embedded model."""


@dataclass(frozen=True)
class Claim:
    """A sentence that states results.

    Attributes:
        page: where it stands.
        text: its words, with a replacement field for each figure.
        figures: what the files give, in the order of the fields.
        holds: whether the files bear out what the words say.
    """

    page: str
    text: str
    figures: tuple[object, ...] = ()
    holds: bool = True

    @property
    def sentence(self) -> str:
        """The words with their figures."""
        return self.text.format(*self.figures)


def claims() -> Iterator[Claim]:
    """All claims."""
    yield from _environment()
    yield from _attackers()
    yield from _tokens_to_alarm()
    yield from _side_channels()
    yield from _paced_release()
    yield from _all_channels()
    yield from _ways_out()
    yield from _egress()
    yield from _trade_off()
    yield from _noise_models_and_cascade()
    yield from _exact()
    yield from _cluster()
    yield from _gpu()
    yield from _random_requests()
    yield from _limits()
    yield from _month()
    yield from _year()
    yield from _speculation()
    yield from _grammar_cost()
    yield from _sidecar_cost()
    yield from _bundled_policy()


def said(text: str, *figures: object, holds: bool = True) -> Claim:
    """A claim of docs/results.md."""
    return Claim(RESULTS, text, figures, holds)


def hundreds(figure: float | None) -> float:
    """A figure, to the nearest hundred."""
    assert figure is not None
    return round(figure, -2)


def _environment() -> Iterator[Claim]:
    for measured in (
        ATTACKERS.read(FILES / "attackers.json"),
        SIDE_CHANNELS.read(FILES / "side-channels.json"),
        TRADE_OFF.read(FILES / "trade-off.json"),
        ADMISSIBLE_SETS.read(FILES / "admissible-sets.json"),
        NOISE_MODELS.read(FILES / "noise-models.json"),
        CASCADE.read(FILES / "cascade.json"),
        EXACT.read(FILES / "exact-bfloat16.json"),
        CLUSTER_SPEED.read(FILES / "cluster-speed.json"),
        CLUSTER_DRIVER.read(FILES / "cluster-driver.json"),
        RANDOM_REQUESTS.read(FILES / "random-requests-simulated.json"),
    ):
        names = ("processor", "cores", "python", "torch", "transformers")
        versions = [measured.environment[name] for name in names]
        yield said("Where nothing else is said: {}, {} cores, Python {}, torch {}, transformers {};", *versions)


def _attackers() -> Iterator[Claim]:
    found = ATTACKERS.read(FILES / "attackers.json")
    settings, of = found.settings, {row.attacker: row for row in found.rows}
    yield said("The policy is calibrated on {} honest answers", settings["calibration"])
    yield said("answers {} requests of the other half, at most {} tokens", settings["records"], settings["tokens"])
    yield said("its upper 95% limit from ten answers of the hundred, drawn {} times", settings["audits"])
    yield said("(a tenth of the pool, drawn {:,} times)", settings["days"])
    yield said("(median of {} orders)", settings["orders"])
    yield said(
        "No attacker decodes more than its bound ({:.0f} bits of luck allowed: a uniform message is that lucky once in"
        " a million), nor than the limit from a tenth of its answers.",
        LUCK_BITS,
        holds=all(row.bound_kept and row.limit_kept_share == 1 for row in found.rows if row.decoded_bits is not None),
    )
    seen_at_once = ("payload dump", "text steganography", "substitution at 0.1")
    yield said(
        "seed grinding against the logger's seeds** are seen within a few answers",
        holds=all(
            (of[name].tokens_to_alarm or math.inf) <= 3 * int(settings["tokens"] or 0)
            for name in (*seen_at_once, "seed grinding, the logger issues the seeds")
        ),
    )
    rare = of["substitution at 0.01"]
    yield said("One payload token in a hundred hides for {:,.0f} audited tokens", hundreds(rare.tokens_to_alarm))
    coded = of["admissible-set coding"]
    yield said("**Admissible-set coding** flags no message", holds=coded.messages_flagged_share_at_1e2 == 0)
    yield said("alarm comes after some {:,.0f} audited tokens", hundreds(coded.tokens_to_alarm))
    budgeted = of["budgeted admissible-set coding"]
    yield said(
        "is not seen in {:,.0f}: {:.0f} bits of {:.0f} that the bound allows, {:.3f} bits a token",
        hundreds(budgeted.tokens_without_alarm),
        *(budgeted.decoded_bits, budgeted.bound_bits, budgeted.decoded_bits_per_token),
    )
    corrected = of["error-corrected admissible-set coding"]
    yield said("{:.0f} bits of the {:.0f} that it offers", corrected.decoded_bits, corrected.offered_bits)
    yield said("says the next bits; {:.0f} bits", of["hash of the answer, 6 tries"].decoded_bits)
    missed = 1 - of["gambling on 0.1 of the answers"].days_flagged_share_at_1e4
    yield said("A day on which a tenth is audited misses it {:.0f} times in 100", 100 * missed)
    free = of["seed grinding, the server issues the seeds"]
    yield said("are an open channel: nothing is flagged", holds=free.days_flagged_share_at_1e2 == 0)
    yield said("The bound adds the {:.0f} bits of each seed", SEED_BITS)
    cut = of["length coding"]
    yield said("is flagged at every message that it cuts", holds=cut.messages_flagged_share_at_1e4 == 1)
    yield said("are an alarm after {:,.0f} tokens", hundreds(of["int8 weights"].tokens_to_alarm))
    yield said("cannot rule out: {:,.0f} bits for an honest server", of["honest server"].limit_bits)


def _tokens_to_alarm() -> Iterator[Claim]:
    found = TOKENS_TO_ALARM.read(FILES / "tokens-to-alarm.json")
    settings, of = found.settings, {row.deviation: row for row in found.rows}
    yield said("(median of {} orders; each record once, then drawn with replacement)", settings["orders"])
    yield said(
        "make the policy, {:,} tokens; each deviation has {:,} at the others.",
        settings["calibration_tokens"],
        found.rows[0].tokens,
        holds=len({row.tokens for row in found.rows}) == 1
        and (settings["calibration_draws"], settings["draws"]) == (4, 2),
    )
    contamination = found.facts["contamination_share"]
    yield said("the same where {:.2%} of an honest server's records may hold anything", contamination)
    alarms = {row.deviation: row.tokens_to_alarm or math.inf for row in found.rows}
    per_record = found.rows[0].tokens / found.rows[0].records
    yield said(
        "An audited record counts whole and has {:.0f} tokens here: no alarm comes before the second one",
        per_record,
        holds=min(alarms.values()) > 1.5 * per_record,
    )
    uniform, rare, int8 = of["admissible:1"], of["substitution:0.01"], of["int8"]
    yield said(
        "takes {:,.0f} tokens where rates alone take {:,.0f}; one random token in a hundred takes {:,.0f} instead of"
        " {:,.0f}, int8 weights {:,.0f} instead of {:,.0f}.",
        *(uniform.tokens_to_alarm, uniform.tokens_to_alarm_before),
        *(rare.tokens_to_alarm, rare.tokens_to_alarm_before),
        *(int8.tokens_to_alarm, int8.tokens_to_alarm_before),
    )
    grow = {size.name: bool(size.growths) for size in read_effect_sizes(None).sizes()}
    yield said(
        "*Never*: no bet of the monitor grows.",
        holds=all(grow[row.deviation] == (row.tokens_to_alarm is not None) for row in found.rows),
    )
    rarest = of["substitution:0.001"]
    yield said(
        "The rarest random tokens take longer than by rates alone",
        holds=alarms["substitution:0.001"] > (rarest.tokens_to_alarm_before or math.inf),
    )
    shares = [growth.log_share for of in read_effect_sizes(None).deviations for growth in of.growths]
    yield said("up to {:.1f} nats beside the {:.1f} of the alarm level", -min(shares), math.log(1e4))
    largest = found.facts["honest_largest_capital"]
    yield said("multiply the capital by {:.2f} at most, in {} orders", largest, settings["orders"])
    honest = HONEST_CAPITAL.read(FILES / "honest-capital.json")
    yield said("Recorded honest answers in ten random orders each", holds=honest.settings["orders"] == 10)
    yield said("None comes near an alarm", holds=max(row.largest_capital for row in honest.rows) < 100)


def _side_channels() -> Iterator[Claim]:
    rows = SIDE_CHANNELS.read(FILES / "side-channels.json").rows
    spelt = [row.decoded_bits for row in rows if row.name in ("white space", "usage stated in events")]
    yield said(
        "White space in the upstream's text never arrives, nor does the usage that it states",
        holds=max(spelt) < 1,
    )

    def found(name: str, control: str) -> SideChannelRow:
        return next(row for row in rows if row.name == name and row.control.startswith(control))

    short, counted, paced = (
        found("short and long pauses", "tick"),
        found("pauses of one to four ticks", "tick"),
        found("pauses of one to four ticks", "pace"),
    )
    yield said(
        "keeps {:.0f} of {:.0f} bits, one who counts in ticks {:.0f} of {:.0f}, under a bound of {:,.0f}",
        short.decoded_bits,
        short.symbols,
        counted.decoded_bits,
        counted.offered_bits,
        counted.bound_bits,
    )
    yield said("of the same pauses {:.0f} bits were decoded and {:,.0f} charged", paced.decoded_bits, paced.bound_bits)
    rows = [*rows, *SIDE_CHANNELS.read(FILES / "load-channels.json").rows]
    yield said(
        "No row decodes more than its bound, but for a few bits of luck.", holds=all(row.bound_kept for row in rows)
    )
    calm, flooded = (
        next(
            row
            for row in RELEASE_JITTER.read(FILES / "release-jitter.json").rows
            if row.name == "group of an answer" and row.control.startswith("pace") and row.flooded == is_flooded
        )
        for is_flooded in (False, True)
    )
    yield said(
        "groups are {:.1f} ms late at the median without a flood and {:.1f} ms with one",
        calm.late_p50_ms,
        flooded.late_p50_ms,
    )


def _paced_release() -> Iterator[Claim]:
    rows = RELEASE_PACE.read(FILES / "release-pace.json").rows

    def found(control: str, server: str = LARGE.name) -> ReleasePaceRow:
        return next(row for row in rows if (row.how, row.server, row.control) == ("rule", server, control))

    free, small, slow, large = (found(control) for control in ("none", "pace 2/100", "pace 8/400", "pace 16/800"))
    yield said("a 70B model, 25 to 32 ms a token")
    yield said(
        "Behind ticks of {} ms, moments carry up to {:.2f} bits a token; at 2/100 {:.4f}, at 8/400 {:.4f}, at 16/800"
        " {:.4f}.",
        TICK_MS,
        found(f"tick {TICK_MS} ms").bits_per_token,
        small.bits_per_token,
        slow.bits_per_token,
        large.bits_per_token,
    )
    paced = [row for row in rows if (row.server, row.how) == (LARGE.name, "rule") and "pace" in row.control]
    yield said(
        "First tokens are {:.0%} later at the median, at every pace",
        slow.first_p50_ms / free.first_p50_ms - 1,
        holds=len({row.first_p50_ms for row in paced}) == 1,
    )
    yield said(
        "8/400 and 16/800 meet both aims: at most {} bits a token, and first tokens at most {:.0%} later.",
        0.02,
        0.25,
        holds=all(
            row.bits_per_token is not None
            and row.bits_per_token <= 0.02
            and row.first_p50_ms <= 1.25 * free.first_p50_ms
            for row in (slow, large)
        ),
    )
    yield said("A faster pace has less stock: {:.4f} at 8/250.", found("pace 8/250").bits_per_token)
    yield said("{:.1f} tokens a second of {:.0f} at 8/400", slow.tokens_per_second, 8 / 0.4)
    yield said("and 8/400 costs {:.4f} bits a token", found("pace 8/400", SMALL.name).bits_per_token)


def _ways_out() -> Iterator[Claim]:
    found = WAYS_OUT.read(FILES / "ways-out.json")
    facts, (*tried, answer) = found.facts, found.rows
    yield said("tries {} ways out", len(tried))
    yield said("nftables {}).", found.environment["nftables"])
    yield said(
        "Without rules {:.0f} of {} ways lead somewhere, with them none, "
        "and the counter of its class counts each packet.",
        facts["arrived_without"],
        len(tried),
        holds=facts["arrived_with"] == 0 and all(row.counted >= row.packets for row in tried),
    )
    yield said("(counted twice", holds=answer.counted == 2 and answer.arrived_with == ["sidecar"])


def _egress() -> Iterator[Claim]:
    found = EGRESS.read(FILES / "egress.json")
    settings, (honest, *others) = found.settings, found.rows
    yield said(
        "{} requests, at most {} tokens each, from a real {} and a sidecar, are {:,} frames.",
        *(settings["requests"], settings["tokens"], settings["server"], honest.frames),
    )
    yield said(
        "All of them are explained.",
        holds=honest.smuggled is None and honest.verdict == "clear" and honest.explained_share == 1,
    )
    yield said(
        "Each of {} ways to smuggle, injected into them by itself, is found, under the name of its kind.",
        len(others),
        holds=all(row.smuggled and row.found_as and row.verdict == "unexplained" for row in others),
    )
    small, large, _ = EGRESS_SPEED.read(FILES / "egress-speed.json").rows
    yield said(
        "The account of {:,} frames takes {:.0f} MB more than that of {:,},",
        *(large.frames, large.peak_megabytes - small.peak_megabytes, small.frames),
        holds=small.explained_share == large.explained_share == 1,
    )


def _trade_off() -> Iterator[Claim]:
    found = TRADE_OFF.read(FILES / "trade-off.json")
    exact = [row.exact_match_share for row in found.rows if row.replay == "float32" and row.series != "float32-head"]
    equal = f"{np.mean(exact):.0%}"
    yield said("Percent of log2 V = {:.2f} bits", found.facts["capacity_bits_per_token"])
    exponent = math.log10(float(found.settings["dangerous_rate"] or math.nan))
    yield said("at a dangerous rate of at most 1e{:.0f} on the choosing half", exponent)
    wide = next(
        row
        for row in found.rows
        if (row.series, row.replay, row.score) == ("much-entropy", "bfloat16", "boundary-aware")
    )
    dangerous = wide.dangerous_share * wide.judged_tokens
    yield said("{:.0f} tokens of {:,} of the judging half are dangerous", dangerous, wide.judged_tokens)
    fresh = {row.series: row.tokens for row in found.rows if row.series != FILTERED.stem}
    yield Claim(README, "trade-off on {:,} fresh tokens", (round(sum(fresh.values()), -3),))
    yield Claim(README, "A replay reproduces about {} of honest tokens exactly", (equal,))
    yield Claim(DESIGN, "A replay of a request on trusted hardware reproduces about {}", (equal,))
    yield Claim(OPERATOR, "answers are {} equal", (equal,))


def _noise_models_and_cascade() -> Iterator[Claim]:
    traffic = sum(len(record.output_token_ids) for record in records_of(FILTERED))
    bits = {row.noise_model: row.bits_per_token for row in NOISE_MODELS.read(FILES / "noise-models.json").rows}
    plain, rounded = bits.pop("one sigma for all"), bits.pop("logits rounded to bfloat16")
    yield said("as far as {:,} tokens show", round(traffic, -3))
    yield said("(differences of {:.4f} bits are chance)", max(abs(other - plain) for other in bits.values()))
    yield said(
        "A replay that rounds its logits as the server does is worse", holds=rounded > max(plain, *bits.values())
    )
    cascade = CASCADE.read(FILES / "cascade.json")
    saved = [1 - row.repeated_tokens_share for row in cascade.rows]
    yield said("only where bfloat16 costs less than {:.0f} to {:.0%} of it", 100 * min(saved), max(saved))
    yield said("Here it costs {:.0%}", cascade.facts[f"bfloat16_time_of_float32: {FILTERED.stem}"])
    unclear = all(row.unclear_records_share == 1 for row in cascade.rows)
    yield said("Every record has an unclear position near its end", holds=unclear)


def _limits() -> Iterator[Claim]:
    found = LIMITS.read(FILES / "limits.json")
    facts, settings = found.facts, found.settings
    rows = {(row.traffic, row.audit_by): row for row in found.rows}
    day = {by: rows["100,000 chat-like answers", by] for by in ("records", "tokens")}
    month = {by: rows["100,000 chat-like answers a day", by] for by in ("records", "tokens")}
    yield said("Medians of {} draws.", settings["draws"])
    yield said(
        "By tokens a day's limit is {:.2f} instead of {:.2f} bits a token (before: {:.2f}), and that of thirty such"
        " days {:.3f} instead of {:.3f} (before: {:.2f}).",
        *(day["tokens"].limit, day["records"].limit, day["records"].before),
        *(month["tokens"].limit, month["records"].limit, month["records"].before),
    )
    yield Claim("docs/statistics.md", "{:.2f} instead of {:.2f} bits a", (day["tokens"].limit, day["records"].limit))
    yield said(
        "Every limit is within {:.0f}% of the least possible.",
        np.ceil(100 * max(row.limit / row.least - 1 for row in found.rows)),
    )
    yield said(
        "Coverage was simulated in {:.0f} settings of attackers, lengths of 1 to 1,000 tokens, audit rates of 1e-4 to"
        " 0.5 and series, {:,} runs each",
        facts["coverage_settings"],
        settings["runs"],
        holds=facts["coverage_broken"] == 0,
    )
    yield said(
        "the limits that may fail in {:.0f}% of the runs failed in {:.1f}% at most",
        100 * facts["coverage_allowed"],
        100 * facts["coverage_most_failures"],
        holds=facts["coverage_most_failures"] <= facts["coverage_allowed"] + 0.03,
    )


def _grammar_cost() -> Iterator[Claim]:
    found = GRAMMAR_COST.read(FILES / "grammar-cost.json")
    facts, counting = found.facts, [row for row in found.rows if row.grammar == "regular expression"]
    yield said("replays a token on one thread, {:.1f} milliseconds.", facts["forward_us"] / 1000)
    yield said(
        "The aim of 3% is met for JSON, tool calls and choices,",
        holds=all(row.forward_share < 0.03 for row in found.rows if row not in counting),
    )
    yield said(
        "There the share is {:.1%} with {:,} tokens, and {:.1%} with {:,}.",
        *(figure for row in counting for figure in (row.forward_share, row.vocabulary)),
    )
    yield said("While {:.0f} threads had grammars checked that take seconds each,", facts["hostile_threads"])
    yield said(
        "took {:.3f} s in the median and {:.1f} s at most,",
        facts["check_beside_hostile_median_s"],
        facts["check_beside_hostile_max_s"],
    )


def _all_channels() -> Iterator[Claim]:
    found = ALL_CHANNELS.read(FILES / "all-channels.json")
    settings, facts = found.settings, found.facts
    refusals, answers, mean = (settings[name] for name in ("refusal_share", "answers", "mean_tokens"))
    assert isinstance(refusals, float)
    yield said("*Ends* and *refusals* ({:.1%} of the requests) are what they are charged", refusals)
    yield said("`verify estimate` at {:g} tokens a day, with nothing gambled.", TOKENS_PER_DAY)
    yield said("{:,} answers with a mean of {:.0f} tokens", answers, mean)
    for pace in ("8/400", "16/800"):
        slot, underruns = facts[f"{pace} slot_bits"], facts[f"{pace} underrun_bits"]
        yield said(
            f"At {pace} an answer has {{:.1f}} bits for its start slot, and {{:.1f}} for its underruns", slot, underruns
        )


def _month() -> Iterator[Claim]:
    found = MONTH.read(FILES / "month.json")
    last = {row.by: row for row in found.rows if row.day == found.settings["days"]}
    records, tokens = last["records"], last["tokens"]
    yield said(
        "By records the one limit is {:.3f} bits a token after the month, where the days' limits add up to {:.2f}; by"
        " tokens it is {:.3f} instead of {:.2f}.",
        *(records.series, records.summed, tokens.series, tokens.summed),
    )
    rate, answers = found.settings["audit_rate_by_records"], found.settings["answers_a_day"]
    assert isinstance(rate, float)
    assert isinstance(answers, int)
    yield said(
        "{:.0%} of {:,} answers a day has as many audited answers as 1% of {:,.0f}.",
        rate,
        answers,
        100 * rate * answers,
    )


def _year() -> Iterator[Claim]:
    found = YEAR.read(FILES / "year.json")
    facts, settings = found.facts, found.settings
    yield said("{:.0f} million tokens in {:,.0f} records", int(settings["tokens"] or 0) / 1e6, facts["checked_records"])
    yield said("leave the database after a day (`--keep-sealed {}`)", settings["keep_sealed"])
    refused, accepted = facts["older_copies_refused"] == 1, facts["restored_copies_accepted"] == 1
    yield said(
        "the database is restored from the backup of a stop, an older copy is refused", holds=refused and accepted
    )
    yield said("The database never took more than {:.1f} MB.", facts["most_database_bytes"] / 1e6)
    yield said(
        "`verify log check` of all {:,.0f} archives took {:.1f} s and {:.0f} MB of memory.",
        facts["checked_archives"],
        facts["check_seconds"],
        facts["check_peak_bytes"] / 1e6,
        holds=facts["check_holds"] == 1,
    )


def _exact() -> Iterator[Claim]:
    found = EXACT.read(FILES / "exact-bfloat16.json")
    (row,) = found.rows
    yield said("This row was made with `--records {}`", found.settings["records"])
    yield said("that took every second request, {};", row.records)
    yield said("{:.0f} positions of {:,} are tied", row.tied_share * row.judged_tokens, row.judged_tokens)
    yield said("(all {} answers that were judged or calibrated came out token for token", row.records)


def _cluster() -> Iterator[Claim]:
    speed, driver = CLUSTER_SPEED.read(FILES / "cluster-speed.json"), CLUSTER_DRIVER.read(FILES / "cluster-driver.json")
    yield said("({} cores, {};", speed.settings["cores"], speed.environment["processor"])
    measured = speed.settings["records"], speed.settings["rounds"]
    yield said("`--records {} --archives 100`, medians of {} rounds)", *measured)
    resident = {row.archives: row.resident_mib for row in driver.rows}
    shown = [resident[archives] for archives in (100, 500, 1000)]
    logged = driver.settings["archives"]
    yield said("The driver over a log of {:,} archives (`--rounds 0 --archives {}`)", logged, logged)
    yield said("{:.0f}, {:.0f} and {:.0f} MiB resident at 100, 500 and 1,000 archives", *shown)
    times = driver.facts["least_processor_ms_per_archive"], driver.facts["most_processor_ms_per_archive"]
    yield said("{:.0f} to {:.0f} ms of processor time an archive", *times)


def _gpu() -> Iterator[Claim]:
    found = GPU.read(FILES / "gpu.json")
    versions = [found.environment[name] for name in ("device", "torch", "transformers")]
    facts, rows = found.facts, {(row.model, row.drawn_with): row for row in found.rows}
    yield said("One {}, torch {}, transformers {}, bfloat16", *versions)
    yield said("medians of {} to {} rounds", found.settings["least_rounds"], found.settings["most_rounds"])
    yield said("(bare differed by {:.0%} at most)", facts["most_spread_of_bare"])
    yield said("operations at the card's measured {:.0f} TFLOP/s", facts["tflops"])
    moved = 100 * facts["least_logit_bytes_floor_of_bare"], facts["most_logit_bytes_floor_of_bare"]
    yield said("once at the measured {:.2f} TB/s is {:.0f} to {:.0%} of it", facts["terabytes"], *moved)
    filtered = "top-p 0.95, top-k 50"
    large = [row for row in found.rows if row.model in ("1.7B", "7B")]
    yield said(
        "The aim of 0.9 is met for the tables from 1.7B parameters on, and for the verdicts at 7B with top-k",
        holds=min(row.tables_of_bare for row in large) >= 0.9 and rows["7B", filtered].verdicts_of_bare >= 0.9,
    )
    slow, fast = (1e6 / rows[model, filtered].bare_tokens_per_second for model in ("7B", "135M"))
    yield said("a prefill of {:.0f} microseconds a token and not behind one of {:.1f}", slow, fast)


def _random_requests() -> Iterator[Claim]:
    for name in ("random-requests-simulated", "random-requests-vllm"):
        found = RANDOM_REQUESTS.read(FILES / f"{name}.json")
        yield said("{:,} requests at random over all", found.rows[0].requests)
        yield said("The policy is made of {} plain answers", found.settings["plain_answers"])
    (real,) = RANDOM_REQUESTS.read(FILES / "random-requests-vllm.json").rows
    yield said("Of vLLM's four, one is a greedy answer", holds=real.flagged == 4)


def _sidecar_cost() -> Iterator[Claim]:
    found = SIDECAR_STEADY.read(FILES / "sidecar-steady.json")
    yield said("Figures are medians of {} rounds of all ways in turn", found.settings["rounds"])
    yield said("*Steady*: {:.0f} seconds of endless answers", found.settings["seconds"])


def _speculation() -> Iterator[Claim]:
    found = SPECULATION.read(FILES / "speculation.json")
    settings, tokens = found.settings, sum(row.tokens for row in found.rows)
    assert settings["drafts"] == 3
    yield said("prompts ({} of them, {} tokens each)", settings["answers"], settings["answer_tokens"])
    yield said("Only the first {:,} ids are allowed", settings["vocabulary"])
    yield said("all {:,} tokens are equal", tokens, holds=all(row.equal == row.tokens for row in found.rows))
    greedy, sampled = ([row for row in found.rows if (row.sampling == "T = 0") == at_0] for at_0 in (True, False))
    altered = [row.altered_by_stock_share for row in sampled]
    yield said("in {:.0%} to {:.0%} of the steps above temperature 0", min(altered), max(altered))
    yield said("and in none at temperature 0", holds=all(row.altered_by_stock_share == 0 for row in greedy))


def _bundled_policy() -> Iterator[Claim]:
    policy = read_policy(BUNDLED_POLICY)
    assert isinstance(policy, Policy)
    judged, answers = policy.evaluation, policy.calibration.records + policy.evaluation.records
    yield Claim(README, "The bundled policy was calibrated on half of {} recorded answers", (answers,))
    yield Claim(README, "On the other half ({:,} tokens)", (judged.tokens,))
    shares = [
        rate.value / np.log2(VOCABULARY)
        for rate in (judged.charged_bits_per_token, judged.counting_bits_per_token, judged.pooled_bits_per_token)
    ]
    yield Claim(
        README,
        "| {:.1%} [{:.1f}, {:.1f}] | {:.0%} [{:.0f}, {:.3f}] | {:.2%}, {:.2%}, {:.2%} |",
        (
            *(judged.exact_match.value, 100 * judged.exact_match.low, 100 * judged.exact_match.high),
            *(judged.dangerous.value, 100 * judged.dangerous.low, 100 * judged.dangerous.high),
            *shares,
        ),
    )
