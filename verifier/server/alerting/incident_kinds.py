"""Kinds of incidents: title, concern, and what to do. The runbook, the dashboard and notices use these texts."""

from dataclasses import dataclass
from typing import Literal

Concern = Literal["evidence", "log", "operation"]
CONCERNS: tuple[Concern, ...] = ("operation", "log", "evidence")
"""What an incident is about, in ascending order of gravity: the operation of this service, the integrity of the log, or
the evidence against the inference server.
"""


@dataclass(frozen=True, kw_only=True)
class IncidentKind:
    """A kind of incident.

    Attributes:
        title: what is the matter, in a few words.
        concern: what it is about.
        explanation: one sentence of what happened, and of what it does not mean.
        steps: what to do, in order. Code is between backticks.
        dashboard: the place of the dashboard that shows what it is about, after "#".
    """

    title: str
    concern: Concern
    explanation: str
    steps: tuple[str, ...]
    dashboard: str


KINDS: dict[str, IncidentKind] = {
    "monitor": IncidentKind(
        title="Evidence against the inference server",
        concern="evidence",
        explanation="The audited answers differ from the replay by more than the policy allows an honest server. The"
        " p-value is the share of honest series, at most, that ever show as much. The evidence is that of the"
        " conditional test, which holds for any prompts and filters, and of flagged records. Rates of mismatches raise"
        " no alarm: they depend on the traffic.",
        steps=(
            "Open the flagged records and read their reasons.",
            "Many records are flagged at once, with few exact matches: first suspect a change of the server (version,"
            " dtype, kernel, sampling scheme) or a wrong model folder. Calibrate on fresh honest traffic of that server"
            " and compare.",
            "Exact replay, and everything mismatches: run `verify vllm check`, then compare versions, flags and"
            " processors of the two servers.",
            "The same request recurs among the flagged records: read its prompt. Answers to prompts of one or two odd"
            " tokens depend on rounding more than ordinary answers. Calibrate on them, too.",
            "Nothing is flagged, and the incident names the conditional test: tokens that are each plausible are taken"
            " too often. Suspect a changed server, as above. If nothing changed, theft within the tolerance looks like"
            " this: go on as in the next step.",
            "A few records, each with a tiny p-value: theft looks like this. Keep the archives, the verdict database"
            " and the audit key, take the server off the network, and call those who respond to security incidents."
            " `verify bundle make` packs a record with its evidence for them.",
            "Acknowledge with the finding. The evidence then starts anew.",
        ),
        dashboard="records?flagged=true",
    ),
    "unaccounted": IncidentKind(
        title="Flagged records outside the evidence",
        concern="evidence",
        explanation="Records are flagged, and the evidence does not include them yet: a record before them has no"
        " verdict.",
        steps=(
            "Open the flagged records and read their reasons, as for `monitor`.",
            "Look for the cause of the waiting record: `trouble` incidents, and the event `trouble` in the server's"
            " log.",
        ),
        dashboard="records?flagged=true",
    ),
    "egress_unexplained": IncidentKind(
        title="Frames on the link that nothing explains",
        concern="evidence",
        explanation="A tap's report lists frames on the link between inference server and sidecar that neither the"
        " declared link nor the log explains. They may carry anything.",
        steps=(
            "Open the report. Each class of unexplained frames names the capture and the number of its first frame:"
            " look at it with a program such as Wireshark.",
            "Completions without a record, or frames behind a gap in the capture: the report was made before all"
            " records were sealed, or the capture lost frames. Run `verify egress` again on the same captures, with"
            " all archives of that time, and compare.",
            "A protocol that a host of the link sends by itself (discovery, multicast, name service): turn it off.",
            "Anything else: keep the captures and the archives, take the inference server off the network, and call"
            " those who respond to security incidents.",
            "Acknowledge with the finding. A later clear report does not end the incident: these frames have passed.",
        ),
        dashboard="taps",
    ),
    "seal": IncidentKind(
        title="An archive without a valid seal",
        concern="log",
        explanation="A file in the archives' folder is not sealed by a key of `--public-key`: a stray or partial file,"
        " or an archive that was changed. It is not audited, and is no evidence about the answers.",
        steps=(
            "Read the file's name and the reason in the quarantine.",
            "A file that no sidecar wrote, or a copy that was cut off: move it out of the folder, and copy archives"
            " under another name before renaming them. The incident ends with the next check.",
            "A file of the sidecar: keep it. Run `verify log check` on it and on the sidecar's own copy. If they"
            " differ, the store or its path was changed: treat it as an attack on the log.",
            "Acknowledge with the finding.",
        ),
        dashboard="quarantine",
    ),
    "root": IncidentKind(
        title="Records differ from their certified root",
        concern="log",
        explanation="An archive has a valid seal, and its records are not those of its signed checkpoint.",
        steps=(
            "Keep the file. Run `verify log check` on the archives of this log.",
            "The sidecar wrote it so: its database or its memory was changed, or its key signed something else. Stop"
            " the sidecar, keep its database and its mark, and treat it as an attack on the log.",
            "Acknowledge with the finding.",
        ),
        dashboard="quarantine",
    ),
    "fork": IncidentKind(
        title="Two histories of one log",
        concern="log",
        explanation="An archive contradicts a checkpoint of the same log that was checked before.",
        steps=(
            "Keep both files, and run `verify log check` on all archives of this log.",
            "An old copy of the sidecar's database was started again, or two sidecars share a key: read the sidecar's"
            " events `opened` of that time.",
            "Otherwise somebody with the log's key wrote another history: treat it as an attack on the log, and make a"
            " new key and a new log.",
            "Acknowledge with the finding.",
        ),
        dashboard="quarantine",
    ),
    "gap": IncidentKind(
        title="Records that are in no archive",
        concern="log",
        explanation="Archives before and after a range of the log are here, and the range is not. Its records cannot be"
        " audited.",
        steps=(
            "Find the missing archive: the sidecar's `--archives`, and the job that copies them.",
            "Copy it to the followed folder. The incident ends with the next check.",
            "It exists nowhere: restore it from a backup of the archives, or write it anew from the sidecar's database,"
            " while that has its records: `verify log seal --again INDEX`.",
            "Records that cannot be recovered were never audited. Acknowledge with the finding.",
        ),
        dashboard="quarantine",
    ),
    "cosignature": IncidentKind(
        title="An archive that too few witnesses cosigned",
        concern="log",
        explanation="The archive's checkpoint has fewer cosignatures than `--min-witnesses`, or an invalid one, and no"
        " checked archive continues it. It is not audited yet.",
        steps=(
            "Read the reason in the quarantine: which witnesses are missing.",
            "A witness or the network was down while the archive was sealed: repair it. The incident ends with the next"
            " archive that has enough cosignatures and continues this one.",
            "An invalid cosignature of a listed witness: compare its key with `--witness-key`. If it is the right one,"
            " somebody changed the checkpoint: keep the file, and treat it as an attack on the log.",
            "Witnesses refuse to cosign: they saw another history of this log. Treat it as a `fork`.",
            "Acknowledge with the finding.",
        ),
        dashboard="quarantine",
    ),
    "model": IncidentKind(
        title="An archive of another model",
        concern="operation",
        explanation="Records name another model than the series, or do not fit its vocabulary or context. They are not"
        " audited.",
        steps=(
            "The inference server was given another model: give it a policy, a database and a verification server of"
            " its own.",
            "The same model under another name or context: correct the sidecar's options, or `--max-model-len`.",
        ),
        dashboard="quarantine",
    ),
    "scheme": IncidentKind(
        title="An archive of another engine",
        concern="operation",
        explanation="Records name another engine, version or sampling scheme than the policy. They are not audited.",
        steps=(
            "The engine was changed on purpose: calibrate on its traffic, and start with a new database and with"
            " `--start-index` at the first record of this archive.",
            "Nobody changed it: find out who did. `verify probe` names the scheme of the running server.",
        ),
        dashboard="quarantine",
    ),
    "record": IncidentKind(
        title="An archive of a later version",
        concern="operation",
        explanation="Records are of a version that this verification server cannot read. They are not audited.",
        steps=("Upgrade the verification servers to the sidecar's version, then restart them.",),
        dashboard="quarantine",
    ),
    "unreadable": IncidentKind(
        title="An archive that cannot be read",
        concern="operation",
        explanation="The store fails, or the file is never read to its end. It is tried again.",
        steps=(
            "Read the reason in the quarantine. Check the store, its permissions and its network.",
            "The file itself is broken: copy it again from the sidecar.",
        ),
        dashboard="quarantine",
    ),
    "defect": IncidentKind(
        title="An internal error on an archive",
        concern="operation",
        explanation="The verification server failed on this archive by a defect of its own. It is tried again.",
        steps=("Find the event `defect` in the server's log, and report it with the version.",),
        dashboard="quarantine",
    ),
    "duplicate": IncidentKind(
        title="An archive of audited records",
        concern="operation",
        explanation="Another archive holds the same records, or they come before `--start-index`. Nothing is left"
        " unaudited.",
        steps=("Remove the superfluous file from the folder.",),
        dashboard="quarantine",
    ),
    "unverifiable": IncidentKind(
        title="Records that could not be replayed",
        concern="operation",
        explanation="Selected records have no verdict. They are charged as if anything were in them.",
        steps=(
            "Open them in the dashboard and read the reason.",
            "They crash their replay: give the machine more memory, or lower `--batch-tokens`.",
            "Requests that leave no definite token come from clients, and are no evidence.",
        ),
        dashboard="records?unverifiable=true",
    ),
    "stale": IncidentKind(
        title="No new archive",
        concern="operation",
        explanation="A log has no new archive for longer than `--archive-interval`. What is answered meanwhile is not"
        " audited.",
        steps=(
            "Check the sidecar: its `/ready`, its log, its disk.",
            "Check the sealing: `--archives` of the sidecar, or the job that runs `verify log seal`.",
            "Check the copying from there to the followed folder.",
            "There was no traffic: acknowledge, or set a longer `--archive-interval`.",
            "The log has ended, and another took its place: remove its folder from `--archives`, once it is audited.",
        ),
        dashboard="archives",
    ),
    "egress_watch": IncidentKind(
        title="A tap's report with findings",
        concern="operation",
        explanation="The newest report of a tap explains all decided frames, and is not clear: the capture lost"
        " something, the tap may have been blind, or records passed it unseen.",
        steps=(
            "Read the findings in the report.",
            "Losses: give the capture a larger buffer, a faster disk, or a machine of its own.",
            "Undecided frames: start the capture before the sidecar, and give all files of a capture together.",
            "Records that the captures do not show: they passed by another way. Find it, and close it.",
            "The incident ends with the next clear report.",
        ),
        dashboard="taps",
    ),
    "egress_stale": IncidentKind(
        title="No new report of a tap",
        concern="operation",
        explanation="The newest report of a tap ends longer ago than `--egress-stale-after`. What passes the link"
        " meanwhile is not accounted for.",
        steps=(
            "Check the capture on the tap's machine: its process, its disk.",
            "Check the job that runs `verify egress` there, and its exit code: with 2 it writes no report.",
            "Check the copying of reports to the followed folder.",
            "The reports come less often on purpose: set a longer `--egress-stale-after`.",
        ),
        dashboard="taps",
    ),
    "egress_refused": IncidentKind(
        title="A file that is no report of a tap",
        concern="operation",
        explanation="A file in the folder of a tap's reports cannot be used: it is malformed, of another format or log,"
        " or in the future. It counts for nothing.",
        steps=(
            "Read the reason.",
            "Another format: upgrade the verification server, or the `verify` on the tap's machine.",
            "Another log: give the tap's reports to the verification server of that log, or add its key to"
            " `--public-key`.",
            "A stray or partial file: remove it. Copy reports under another name, and rename them. The incident ends"
            " with the next check.",
        ),
        dashboard="taps",
    ),
    "behind": IncidentKind(
        title="The audit is behind",
        concern="operation",
        explanation="The oldest archive waits for its audit for longer than `--max-lag`. No record is left out.",
        steps=(
            "Look for `trouble`: a replay server that fails stops the audit.",
            "Add a verification server on the same database, or lower `--audit-rate` deliberately.",
        ),
        dashboard="archives?state=auditing",
    ),
    "trouble": IncidentKind(
        title="A verification server has trouble",
        concern="operation",
        explanation="A verification server reports that a part of its work fails. It tries again.",
        steps=(
            "Read the reason, and the event `trouble` in that server's log.",
            "Nothing can be replayed: check the replay server, the GPU and the memory.",
        ),
        dashboard="servers",
    ),
    "delivery": IncidentKind(
        title="Notices that are not delivered",
        concern="operation",
        explanation="The webhook or the command refused a notice five times. Incidents do not reach those who wait for"
        " them.",
        steps=(
            "Read the event `notice refused` in the server's log for the reason.",
            "Repair the receiver. The notices are sent again, the last of them within an hour.",
        ),
        dashboard="history",
    ),
}
"""The kinds by name. The kind of a quarantined archive's incident is that of its quarantine."""


def links_of(kind: str, number: int) -> dict[str, str]:
    """Paths of an incident's pages below the dashboard's URL: what it is about, the runbook, the acknowledgement."""
    return {
        "shown": f"#{KINDS[kind].dashboard}",
        "runbook": f"runbook#{kind}",
        "acknowledge": f"#incident-{number}",
    }
