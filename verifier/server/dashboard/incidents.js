// Incidents: the open ones below the state, and all that ever were.

import { askAcknowledgement } from "./acknowledge.js";
import { byId, element, reconcile, setText } from "./dom.js";
import { ago, time } from "./format.js";
import { look, symbol } from "./symbol.js";
import { Table, only } from "./table.js";
import { refresh } from "./view.js";

export function showOpenIncidents(incidents, mayAcknowledge) {
  // An incident whose level changes is another one to draw: its symbol is of the level.
  reconcile(byId("incidents"), incidents, (incident) => `${incident.id} ${incident.level}`, create, (node, incident) => {
    update(node, incident, mayAcknowledge);
  });
}

const CONCERNS = { evidence: "evidence", log: "integrity of the log", operation: "operation" };
const SHOWN = {
  records: "Show the records",
  quarantine: "Show the quarantine",
  archives: "Show the archives",
  servers: "Show the servers",
  taps: "Show the taps",
  history: "Show all incidents",
};

function create(incident) {
  const looks = look(incident.level, incident.concern);
  const { shown, runbook } = incident.links;
  return element(
    "li",
    { class: `incident ${looks}`, id: `incident-${incident.id}`, tabindex: "-1" },
    symbol(looks),
    element(
      "div",
      {},
      element(
        "p",
        {},
        element("strong", { class: "title" }, incident.title),
        " ",
        element("span", { class: "note" }, `${incident.level}, ${CONCERNS[incident.concern]}`),
      ),
      element("p", { class: "explanation" }, incident.explanation.replaceAll("`", "")),
      element("p", { class: "what said" }),
      element("p", { class: "note said" }),
      element(
        "p",
        { class: "links" },
        element("a", { href: runbook }, "What to do"),
        " ",
        element("a", { href: shown }, SHOWN[shown.slice(1).split("?")[0]]),
      ),
    ),
    element("div", { class: "action" }),
  );
}

function update(node, incident, mayAcknowledge) {
  const [, text, action] = node.children;
  setText(text.children[2], incident.what);
  setText(text.children[3], [course(incident), ...acknowledgement(incident)].join("; "));
  drawAction(action, incident, mayAcknowledge);
}

function course(incident) {
  const opened = `since ${time(incident.opened_at)} (${ago(incident.opened_at)})`;
  if (incident.lasting) {
    return `${opened}, still so`;
  }
  return incident.ended_at === null ? opened : `${opened}, over since ${time(incident.ended_at)}`;
}

function acknowledgement(incident) {
  if (incident.acknowledged_at === null) {
    return [];
  }
  return [`acknowledged ${time(incident.acknowledged_at)} by ${incident.acknowledged_by}: ${incident.reason}`];
}

// A button as long as nobody has acknowledged the incident, for those who may.
function drawAction(cell, incident, mayAcknowledge) {
  if (incident.acknowledged_at !== null || !mayAcknowledge) {
    cell.replaceChildren();
    return;
  }
  only(cell, () => {
    const button = element(
      "button",
      { type: "button", "aria-label": `Acknowledge ${incident.kind}, incident ${incident.id}` },
      "Acknowledge",
    );
    button.addEventListener("click", () => askAcknowledgement(incident));
    return button;
  });
}

const table = new Table(
  "All incidents, the newest first",
  [
    { title: "incident", text: (incident) => incident.title, tone: () => "said" },
    { title: "kind", text: (incident) => incident.kind },
    {
      title: "level",
      text: (incident) => incident.level,
      tone: (incident) => `level ${look(incident.level, incident.concern)}`,
    },
    { title: "what", text: (incident) => incident.what, tone: () => "said" },
    { title: "opened", text: (incident) => time(incident.opened_at) },
    {
      title: "over",
      text: (incident) => (incident.lasting || incident.ended_at === null ? "no" : time(incident.ended_at)),
    },
    {
      title: "acknowledged",
      text: (incident) => acknowledgement(incident)[0] ?? "no",
      tone: () => "said",
    },
  ],
  (incident) => incident.id,
  "There was no incident.",
);

export const history = {
  section: byId("history"),
  // Only while it is unfolded.
  path: () => (byId("history").open ? "alarms" : null),
  show: (answer) => table.show(answer.incidents),
};

history.section.querySelector(".content").append(table.node);
history.section.addEventListener("toggle", () => refresh(history));
