// What a person fills in: the form for a new run, and the answers to questions.

import { asText, element, find, joined, list, mark, say, set } from "./dom.js";
import { checked } from "./json.js";
import { answer, start, wordsOf } from "./server.js";
import { state } from "./state.js";

for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("click", ({ target }) => (target === dialog || target.value === "close") && dialog.close());
}

// A new run

const form = find("new-run").querySelector("form");
const STORE = { name: "store", type: "store", default: {} };
const forms = new WeakMap(); // the fields of each flow, as they were filled in last
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
    const texts = fields.map(textOf).filter(Boolean); // as they were written: a number may be longer than ours
    const shared = flow.inputs ? `{${texts.map(([name, text]) => `${JSON.stringify(name)}:${text}`)}}` : texts[0]?.[1];
    const run_id = JSON.stringify(find("run-name").value.trim() || null);
    await start(flow.slug, `{"shared":${shared ?? "{}"},"run_id":${run_id}}`);
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
  return element("label", {}, ...(type === "bool" ? [field, " ", name] : [name, " ", element("small", {}, hint), field]));
}

/** The name and the JSON text of an input; null where it is left out. A mistake is marked in its field. */
function textOf({ name, type, required, default: usual, field }) {
  mark(field, "aria-invalid", null);
  try {
    if (type === "bool") return [name, field.checked];
    if (!field.value && required) throw new Error("Fill this in.");
    if (!field.value && !(type === "str" && usual)) return null;
    return [name, READ[type](field.value)];
  } catch (error) {
    mark(field, "aria-invalid", "true");
    field.focus();
    throw fields.length > 1 ? new Error(`${name}: ${error.message}`) : error;
  }
}

const READ = {
  str: JSON.stringify,
  json: checked,
  int: text => expected(text, /^\s*-?\d+\s*$/, "Write a whole number."),
  float: text => expected(text, /^\s*[-\d]/, "Write a number."),
  store: text => expected(text, /^\s*\{/, 'Write an object, as in {"topic": "bees"}.'),
};

function expected(text, pattern, advice) {
  if (!pattern.test(text)) throw new Error(advice);
  return checked(text);
}

// Questions

try {
  find("by").value = localStorage.by ?? "";
  find("by").onchange = ({ target }) => (localStorage.by = target.value);
} catch {} // where a browser keeps nothing

/** A band for each question. What is half written in one stays there. */
export function drawQuestions() {
  list("questions", state.run?.questions ?? [], ({ path }) => `${state.id} ${path}`, makeQuestion);
  set("by", { hidden: !state.run?.questions.length });
  const disabled = state.busy.has(state.id);
  for (const button of find("questions").querySelectorAll("button")) set(button, { disabled });
}

function makeQuestion({ path, question, choices }) {
  const words = element("b", { tabIndex: 0, title: path }, asText(question));
  const answers = choices ? choices.map(choice => choiceOf(path, choice)) : [freeAnswer(path, asText(question))];
  const band = element("div.band", {}, words, element("div.answers", {}, ...answers));
  band.dataset.state = "waiting";
  return band;
}

function give(path, value) {
  find("name").focus(); // as the question goes away
  answer(path, value);
}

const choiceOf = (path, choice) => element("button.cut", { onclick: () => give(path, choice) }, asText(choice));

function freeAnswer(path, question) {
  const field = element("input", { placeholder: "Your answer", autocomplete: "off", ariaLabel: question });
  const onsubmit = event => (event.preventDefault(), give(path, field.value));
  return element("form", { onsubmit }, field, element("button.main", {}, "Answer"));
}
