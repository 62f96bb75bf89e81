// Asks the server. Errors are its own sentences; a full queue is waited for; a token is asked of the person once.

const KEY = "maskrcnn-token";

export class ServerError extends Error {
  constructor(status, detail, body) {
    super(detail);
    this.status = status;
    this.body = body;
  }
}

function askForToken() {
  const dialog = document.getElementById("ask-token"), field = document.getElementById("token");
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      sessionStorage.setItem(KEY, field.value);
      resolve();
    }, {once: true});
    if (!dialog.open) dialog.showModal();
  });
}

export function authorization() {
  const token = sessionStorage.getItem(KEY);
  return token ? {Authorization: `Bearer ${token}`} : {};
}

/** The answer of the server to a request; waits where its queue is full. */
export async function ask(path, options = {}) {
  for (;;) {
    let answer;
    try {
      answer = await fetch(path, {...options, headers: {...authorization(), ...options.headers}});
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ServerError(0, "The server does not answer. What you see is kept; try again.");
    }
    if (answer.ok) return answer;
    if (answer.status === 401) {
      await askForToken();
      continue;
    }
    if (answer.status === 503 && answer.headers.has("Retry-After") && !options.once) {
      await new Promise((resolve) => setTimeout(resolve, 1000 * Math.min(Number(answer.headers.get("Retry-After")), 30)));
      continue;
    }
    const body = await answer.json().catch(() => ({}));
    throw new ServerError(answer.status, body.detail ?? `The server answered ${answer.status}.`, body);
  }
}

export const get = async (path) => (await ask(path)).json();

export const send = async (method, path, content) =>
  (await ask(path, {method, body: JSON.stringify(content), headers: {"Content-Type": "application/json"}})).json();
