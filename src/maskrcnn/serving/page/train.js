// Training on what was corrected: start, watch, cancel, and use the new model where a person says so.

import {ask, send} from "./api.js";

const element = (id) => document.getElementById(id);
const SCORE = "mask AP";

function make(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export class Train {
  constructor({project, tell, reload}) {
    Object.assign(this, {project, tell, reload});
    this.epochs = make("input", {type: "number", id: "epochs", min: 1, max: 1000, value: 10});
    this.button = make("button", {type: "button", id: "train", textContent: "Train on this"});
    this.button.addEventListener("click", () => this.start());
    this.stop = make("button", {type: "button", id: "cancel", textContent: "Cancel", hidden: true});
    this.stop.addEventListener("click", () => ask("/v1/project/training", {method: "DELETE"}).catch((error) => tell(error.message)));
    this.bar = make("progress", {id: "train-progress", max: 1, value: 0, hidden: true});
    this.line = make("p", {id: "train-state", role: "status"});
    this.curve = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    this.curve.setAttribute("class", "curve");
    this.curve.setAttribute("viewBox", "0 0 100 100");
    this.curve.setAttribute("preserveAspectRatio", "none");
    this.curve.setAttribute("role", "img");
    this.curve.setAttribute("hidden", "");
    this.runs = make("ul", {id: "runs"});
    element("train-section").hidden = false;
    element("train-section").append(
      make("h2", {textContent: "Train on"}), make("label", {}, "Epochs ", this.epochs), make("div", {className: "row"}, this.button, this.stop),
      this.bar, this.line, this.curve, this.runs,
    );
    this.watch();
  }

  async start() {
    try {
      await send("POST", "/v1/project/training", {epochs: Number(this.epochs.value)});
      this.watch();
    } catch (error) {
      this.tell(error.message);
    }
  }

  /** Reads the server's events; fetch, for an EventSource cannot bring a token. */
  async watch() {
    const reader = (await ask("/v1/project/training")).body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (let part; !(part = await reader.read()).done;) {
      text += part.value;
      const events = text.split("\n\n");
      text = events.pop();
      for (const event of events) await this.say(JSON.parse(event.replace(/^data: /, "")));
    }
  }

  async say(state) {
    const running = ["training", "scoring"].includes(state.stage), done = state.history.length;
    this.button.disabled = running;
    this.stop.hidden = this.bar.hidden = !running;
    this.bar.value = state.epochs ? done / (state.epochs + 1) : 0;
    this.line.textContent = {
      idle: "", training: `Epoch ${Math.min(done + 1, state.epochs)} of ${state.epochs}`, scoring: "Scoring both models on the held-out images",
      done: "", failed: `Failed: ${state.error}`, cancelled: "Cancelled; the model in use stays.",
    }[state.stage];
    this.draw(state.history.map((epoch) => epoch.loss).filter(Number.isFinite));
    if (state.stage === "done") await this.project.refresh();
  }

  draw(losses) {
    this.curve.toggleAttribute("hidden", losses.length < 2);
    if (losses.length < 2) return;
    const most = Math.max(...losses), least = Math.min(...losses, 0);
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    line.setAttribute("points", losses.map((loss, k) => `${100 * k / (losses.length - 1)},${95 - 90 * (loss - least) / Math.max(most - least, 1e-9)}`).join(" "));
    this.curve.setAttribute("aria-label", `Loss by epoch, from ${losses[0].toFixed(2)} to ${losses.at(-1).toFixed(2)}`);
    this.curve.replaceChildren(line);
  }

  show() {
    this.runs.replaceChildren(...this.project.project.runs.filter((run) => run.scores.after).map((run) => {
      const {before, after, images} = run.scores, text = (scores) => (scores[SCORE] === undefined ? "?" : scores[SCORE].toFixed(3));
      const found = `${SCORE} on ${images ? `${images} ` : ""}held-out images ${text(before)} before, ${text(after)} after`;
      const verdict = {"not better": "The new model is not better: the old one was kept.", "perhaps better": "That may be chance."}[run.verdict] ?? "";
      const entry = make("li", {}, make("p", {textContent: `Run ${run.number}: ${found}. ${verdict}`.trim()}));
      if (run.verdict === "not better" && !run.used) return entry;
      const button = make("button", {type: "button", className: "use", textContent: run.used ? "In use" : "Use this model", disabled: run.used});
      button.addEventListener("click", async () => {
        try {
          await ask(`/v1/project/runs/${run.number}/use`, {method: "POST"});
          await this.project.refresh();
        } catch (error) {
          this.tell(error.message);
        }
      });
      entry.append(button);
      return entry;
    }));
  }
}
