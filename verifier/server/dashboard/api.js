// Requests to the server's HTTP API, and what it says when it refuses.

const PATIENCE_MS = 10_000;

class ApiError extends Error {}

export function get(path) {
  return ask(path, {});
}

export function post(path, body) {
  return ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}

// The path of a listing: parameters that are null or empty are left out.
export function listing(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== "");
  return given.length === 0 ? path : `${path}?${new URLSearchParams(given)}`;
}

async function ask(path, options) {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  let response;
  let answer;
  try {
    response = await fetch(`api/v1/${path}`, { ...options, signal, cache: "no-store" });
    answer = await response.json();
  } catch (error) {
    throw new ApiError(response === undefined ? unreachable(error) : `HTTP ${response.status} without readable JSON`);
  }
  if (!response.ok) {
    throw new ApiError(refusal(answer) ?? `HTTP ${response.status}`);
  }
  return answer;
}

function unreachable(error) {
  return error.name === "TimeoutError" ? `no answer within ${PATIENCE_MS / 1000} s` : "the server cannot be reached";
}

// `detail` is a sentence (its full stop is the page's to set), or a list of what is wrong with each field.
function refusal(answer) {
  const detail = answer?.detail;
  return Array.isArray(detail) ? detail.map((problem) => problem.msg).join("; ") : detail?.replace(/\.$/, "");
}
