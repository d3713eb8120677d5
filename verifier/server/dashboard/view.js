// Reading one view of the page from the server.
//
// A view is {section, path(), show(answer)}: where it is, what it asks for (null: nothing now), and how it shows the
// answer. Its section has a line, `.problem`, for what went wrong.

import { get } from "./api.js";
import { setProblem } from "./dom.js";

export async function refresh(view) {
  const path = view.path();
  if (path === null) {
    return;
  }
  const problem = view.section.querySelector(":scope > .problem");
  try {
    const answer = await get(path);
    // An answer to what is no longer asked comes too late.
    if (view.path() === path) {
      view.show(answer);
      setProblem(problem, null);
    }
  } catch (error) {
    if (view.path() === path) {
      setProblem(problem, `This could not be read: ${error.message}. Figures shown here may be old.`);
    }
  }
}
