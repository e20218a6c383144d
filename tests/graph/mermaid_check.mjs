// Reads JSON lists of Mermaid texts, one a line, and prints for each line what Mermaid's own parser made of the texts.
// node mermaid_check.mjs FOLDER, where FOLDER has node_modules with mermaid and jsdom.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.argv[2]}/`);
const { JSDOM } = require("jsdom");
globalThis.window = new JSDOM("").window;
globalThis.document = window.document;
const { default: mermaid } = await import(pathToFileURL(require.resolve("mermaid")));

async function parsed(diagram) {
  try {
    await mermaid.parse(diagram);
    const { db } = await mermaid.mermaidAPI.getDiagramFromText(diagram);
    const frames = db.getSubGraphs();
    const nodes = [...db.getVertices().values()];
    return {
      nodes: Object.fromEntries([
        ...nodes.map((node) => [node.id, node.text ?? ""]),
        ...frames.map((frame) => [frame.id, frame.title]),
      ]),
      frames: Object.fromEntries(frames.map((frame) => [frame.id, frame.nodes])),
      edges: db.getEdges().map((edge) => [edge.start, edge.text, edge.end]),
    };
  } catch (error) {
    return { error: String(error) };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const results = [];
  for (const diagram of JSON.parse(line)) results.push(await parsed(diagram));
  console.log(JSON.stringify(results));
}
