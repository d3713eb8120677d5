// Incidents: the open ones below the state, and all that ever were.

import { askAcknowledgement } from "./acknowledge.js";
import { byId, element, reconcile, setText } from "./dom.js";
import { ago, time } from "./format.js";
import { symbol } from "./symbol.js";
import { Table, only } from "./table.js";
import { refresh } from "./view.js";

export function showOpenIncidents(incidents, mayAcknowledge) {
  // An incident whose level changes is another one to draw: its symbol is of the level.
  reconcile(byId("incidents"), incidents, (incident) => `${incident.id} ${incident.level}`, create, (node, incident) => {
    update(node, incident, mayAcknowledge);
  });
}

function create(incident) {
  return element(
    "li",
    { class: `incident ${incident.level}` },
    symbol(incident.level),
    element(
      "div",
      {},
      element("p", {}, element("strong", {}, `${incident.level}: ${incident.kind}`)),
      element("p", { class: "what said" }),
      element("p", { class: "note said" }),
    ),
    element("div", { class: "action" }),
  );
}

function update(node, incident, mayAcknowledge) {
  const [, text, action] = node.children;
  setText(text.children[1], incident.what);
  setText(text.children[2], [course(incident), ...acknowledgement(incident)].join("; "));
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
    { title: "kind", text: (incident) => incident.kind },
    { title: "level", text: (incident) => incident.level, tone: (incident) => `level ${incident.level}` },
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
