// What a person fills in: the form for a new run, the answers to questions, and whether one is sure.

import { asText, element, find, joined, list, mark, say, set } from "./dom.js";
import { JsonError, parsed } from "./json.js";
import { answer, remove, start, wordsOf } from "./server.js";
import { state } from "./state.js";

for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("click", ({ target }) => (target === dialog || target.value === "close") && dialog.close());
}

// A new run

const form = find("new-run").querySelector("form");
const STORE = { name: "store", type: "store", default: {} };
const forms = new WeakMap(); // the fields of each flow, with what was written into them before
let flow = null; // that is to run
let fields = []; // its inputs, each with its field

export function openForm() {
  flow = state.flows?.get(state.flow);
  if (!flow || flow.findings.length) return;
  fields = forms.get(flow) ?? (flow.inputs ?? [STORE]).map(input => ({ ...input, field: fieldOf(input) }));
  forms.set(flow, fields);
  find("fields").replaceChildren(...fields.map(labelOf));
  say("new-title", `New run of ${flow.name}`);
  say("new-doc", flow.doc);
  say("new-error", "");
  find("run-name").value = "";
  find("new-run").showModal();
  (fields[0]?.field ?? find("run-name")).focus();
}

form.addEventListener("keydown", event => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});

form.onsubmit = async event => {
  event.preventDefault();
  set("start-run", { disabled: true });
  try {
    const values = Object.fromEntries(fields.map(valueOf).filter(([, value]) => value !== undefined));
    const run_id = find("run-name").value.trim() || null;
    await start(flow.slug, { shared: flow.inputs ? values : values.store, run_id });
    find("new-run").close();
  } catch (error) {
    say("new-error", wordsOf(error));
  } finally {
    set("start-run", { disabled: false });
  }
};

function fieldOf({ type, required, default: usual }) {
  if (type === "bool") return element("input", { type: "checkbox", checked: usual === true });
  const value = required ? "" : type === "str" ? (usual ?? "") : JSON.stringify(usual, null, 1);
  return element(type === "str" ? "textarea" : "textarea.code", { rows: 1, spellcheck: false, value });
}

function labelOf({ name, type, required, field }) {
  const kind = { store: "a JSON object", json: "JSON", int: "a whole number", float: "a number" }[type];
  const hint = joined([kind, !required && type !== "bool" && "optional"]);
  return element(`label.${type}`, {}, name, " ", element("small", {}, hint), field);
}

/** The name and value of an input; undefined where it is left out. A mistake is marked in its field. */
function valueOf({ name, type, required, default: usual, field }) {
  mark(field, "aria-invalid", null);
  try {
    if (type === "bool") return [name, field.checked];
    if (!field.value && required) throw new Error("Fill this in.");
    if (!field.value && !(type === "str" && usual)) return [name, undefined];
    return [name, READ[type](field.value)];
  } catch (error) {
    mark(field, "aria-invalid", "true");
    field.focus();
    if (error instanceof JsonError) field.setSelectionRange(error.at, error.at + 1);
    throw fields.length > 1 ? new Error(`${name}: ${error.message}`) : error;
  }
}

const READ = {
  str: text => text,
  json: parsed,
  int: text => expect(parsed(text), Number.isInteger, "Write a whole number."),
  float: text => expect(parsed(text), Number.isFinite, "Write a number."),
  store: text => expect(parsed(text), isObject, 'Write an object, as in {"topic": "bees"}.'),
};

const isObject = value => value !== null && typeof value === "object" && !Array.isArray(value);

function expect(value, is, advice) {
  if (!is(value)) throw new Error(advice);
  return value;
}

// Questions

/** A band for each question. What is half written in one stays there. */
export function drawQuestions() {
  list("questions", state.run?.questions ?? [], ({ path }) => `${state.id} ${path}`, makeQuestion);
  for (const button of find("questions").querySelectorAll("button")) set(button, { disabled: state.isBusy });
}

function makeQuestion({ path, question, choices }) {
  const words = element("b", { tabIndex: 0, title: path }, asText(question));
  const answers = choices ? choices.map(choice => choiceOf(path, choice)) : [freeAnswer(path, asText(question))];
  const band = element("div.band", {}, words, element("div.answers", {}, ...answers));
  band.dataset.state = "waiting";
  return band;
}

const choiceOf = (path, choice) => element("button.cut", { onclick: () => answer(path, choice) }, asText(choice));

function freeAnswer(path, question) {
  const field = element("input", { placeholder: "Your answer", autocomplete: "off", ariaLabel: question });
  const onsubmit = event => (event.preventDefault(), answer(path, field.value));
  return element("form", { onsubmit }, field, element("button.main", {}, "Answer"));
}

// Whether one is sure

export function askToDelete(id) {
  say("sure-title", `Delete ${id}?`);
  find("delete").onclick = () => remove(id);
  find("sure").showModal();
}
