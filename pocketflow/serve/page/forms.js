// What a person fills in: the form for a new run, the answers to questions, and whether one is sure.

import { element, find, list, say, set, shown } from "./dom.js";
import { JsonError, parsed } from "./json.js";
import { answer, remove, start } from "./server.js";
import { flow, state } from "./state.js";

for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("click", ({ target }) => (target === dialog || target.value === "cancel") && dialog.close());
}

// A new run

const form = find("new-run").querySelector("form");
let fields = []; // of the flow at hand: {name, label, field, read}

export function openForm() {
  if (!flow() || flow().findings.length || document.querySelector("dialog[open]")) return;
  const { name, slug, doc, inputs } = flow();
  find("new-title").textContent = `New run of ${name}`;
  say(find("new-doc"), doc);
  fields = (inputs ?? [STORE]).map(input => fieldOf(input, recalled(slug)[input.name]));
  find("fields").replaceChildren(...fields.map(field => field.label));
  find("run-name").value = "";
  say(find("new-error"), "");
  find("new-run").showModal();
  (fields[0]?.field ?? find("run-name")).focus();
}

form.addEventListener("keydown", event => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.preventDefault(), form.requestSubmit();
});

form.addEventListener("submit", async event => {
  event.preventDefault();
  const { slug, inputs } = flow();
  set(find("start-run"), { disabled: true });
  try {
    const values = Object.fromEntries(fields.map(valueOf).filter(([, value]) => value !== undefined));
    remember(slug);
    await start(slug, { shared: inputs ? values : values.store, run_id: find("run-name").value.trim() || null, tags: {} });
    find("new-run").close();
  } catch (error) {
    say(find("new-error"), error.message);
  } finally {
    set(find("start-run"), { disabled: false });
  }
});

/** What stands in a field. A mistake is marked there. */
function valueOf({ name, field, read }) {
  try {
    field.removeAttribute("aria-invalid");
    return [name, read()];
  } catch (error) {
    field.setAttribute("aria-invalid", "true");
    field.focus();
    if (error instanceof JsonError) field.setSelectionRange(error.at, error.at + 1);
    throw new Error(fields.length > 1 ? `${name}: ${error.message}` : error.message);
  }
}

// Fields

const STORE = { name: "store", type: "store", required: true, default: {} };
const HINTS = { store: "as JSON", json: "JSON", int: "a whole number", float: "a number" };

/** A field for an input of a flow; `raw` is what stood in it before, if anything. */
function fieldOf({ name, type, required, default: preset }, raw) {
  const field = type === "bool" ? element("input", { type: "checkbox" }) : element("textarea", { rows: type === "store" ? 7 : 1, spellcheck: false });
  if (type === "bool") field.checked = raw ?? preset === true;
  else field.value = raw ?? (required && type !== "store" ? "" : type === "str" ? (preset ?? "") : JSON.stringify(preset ?? null, null, 1));
  if (type !== "str") field.classList.add("code");
  field.setAttribute("aria-describedby", "new-error");
  const hint = [HINTS[type], required || type === "bool" ? "" : "optional"].filter(Boolean).join(", ");
  const label = element(`label.${type}`, {}, name === "store" && type === "store" ? "Store" : name, " ", element("small", {}, hint && `(${hint})`), field);
  return { name, label, field, read: () => READ[type](field, required, preset) };
}

const READ = {
  bool: field => field.checked,
  str(field, required, preset) {
    if (required && !field.value) throw new Error("write a text");
    return field.value || preset ? field.value : undefined;
  },
  int(field, required) {
    const value = READ.json(field, required);
    if (value !== undefined && value !== null && !Number.isInteger(value)) throw new Error(`write a whole number, not ${field.value}`);
    return value;
  },
  float(field, required) {
    const value = READ.json(field, required);
    if (value !== undefined && value !== null && typeof value !== "number") throw new Error(`write a number, not ${field.value}`);
    return value;
  },
  json(field, required) {
    if (!field.value.trim() && !required) return undefined;
    return parsed(field.value);
  },
  store(field) {
    const value = parsed(field.value.trim() ? field.value : "{}");
    if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Error('Write an object, as in {"topic": "bees"}.');
    return value;
  },
};

// What stood in the fields of a flow is there again the next time, as long as the tab is open and allows it

function recalled(slug) {
  try {
    return JSON.parse(sessionStorage.getItem(`pocketflow ${slug}`)) ?? {};
  } catch {
    return {};
  }
}

function remember(slug) {
  const raw = Object.fromEntries(fields.map(({ name, field }) => [name, field.type === "checkbox" ? field.checked : field.value]));
  try {
    sessionStorage.setItem(`pocketflow ${slug}`, JSON.stringify(raw));
  } catch {
    // a browser may forbid it
  }
}

// Questions

/** A band for each question of the run; what is being written in one stays there. */
export function drawQuestions(bands) {
  const questions = state.run?.questions ?? [];
  list(bands, questions, question => `${state.id} ${question.path}`, makeQuestion, band => {
    for (const button of band.querySelectorAll("button")) set(button, { disabled: state.isBusy });
  });
}

function makeQuestion({ path, question, choices }) {
  const words = element("p.question", { title: path }, shown(question));
  const answers = choices ? choices.map(choice => choiceOf(path, choice)) : [freeAnswer(path, shown(question))];
  return element("div.band.asks", {}, words, element("div.answers", {}, ...answers));
}

const choiceOf = (path, choice) => element("button", { textContent: shown(choice), onclick: () => answer(path, choice) });

function freeAnswer(path, question) {
  const field = element("input", { placeholder: "Your answer", autocomplete: "off", ariaLabel: question });
  const form = element("form", {}, field, element("button.main", {}, "Answer"));
  form.onsubmit = event => (event.preventDefault(), answer(path, field.value));
  return form;
}

// Whether one is sure

let doomed = null; // the id of the run

export function askToDelete(id) {
  doomed = id;
  find("sure-question").textContent = `Delete ${id}?`;
  find("sure").showModal();
}

find("sure-yes").onclick = () => {
  find("sure").close();
  remove(doomed);
};
