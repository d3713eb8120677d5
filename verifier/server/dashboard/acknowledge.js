// The dialog in which an operator acknowledges an incident.

import { post } from "./api.js";
import { byId, setProblem, setText } from "./dom.js";

const dialog = byId("acknowledge");
const form = dialog.querySelector("form");
const problem = dialog.querySelector(".problem");
const submit = form.querySelector("[type=submit]");

let asked = null;

export function askAcknowledgement(incident) {
  asked = incident;
  setText(byId("acknowledge-what"), `${incident.title} (${incident.level}). ${incident.what}`);
  setProblem(problem, null);
  // The name stays for the next incident; a reason is of one.
  form.elements.reason.value = "";
  dialog.showModal();
}

// `done` is called when the server has kept an acknowledgement.
export function onAcknowledged(done) {
  form.elements.cancel.addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    const incident = asked;
    try {
      await post(`alarms/${incident.id}/acknowledge`, {
        by: form.elements.by.value,
        reason: form.elements.reason.value,
      });
      // Not another incident's dialog, where this one was closed before the answer came.
      if (asked === incident) {
        dialog.close();
      }
      // The button that opened the dialog goes: the focus must not go with it.
      byId("glance-title").focus();
      done();
    } catch (error) {
      setProblem(problem, `Not acknowledged: ${error.message}.`);
    } finally {
      submit.disabled = false;
    }
  });
}
