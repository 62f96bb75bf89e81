// The OpenAPI document as a page: what each route takes and answers, and a command or an example that works.

const make = (name, text = "", className = "") => Object.assign(document.createElement(name), {textContent: text, className});

function example(path, method, operation) {
  const sample = operation["x-codeSamples"]?.[0]?.source;
  if (sample) return sample.replace("http://127.0.0.1:8000", location.origin);
  const content = operation.requestBody?.content?.["application/json"];
  const body = content?.example ?? content?.schema?.examples?.[0];
  const address = location.origin + path.replace("{model}", "maskrcnn");
  if (body) return `curl '${address}' -H 'Content-Type: application/json' -d '${JSON.stringify(body).replaceAll("'", "'\\''")}'`;
  return method === "get" ? `curl '${address}'` : "";
}

function section(path, method, operation) {
  const part = make("section"), title = make("h2");
  title.append(make("code", `${method.toUpperCase()} ${path}`));
  part.append(title, make("p", operation.summary ?? ""), make("p", operation.description ?? "", "quiet"));
  if (operation.parameters?.length) {
    const list = make("dl");
    for (const {name, description = "", schema = {}} of operation.parameters) {
      const choices = (schema.anyOf ?? [schema]).flatMap((one) => one.enum ?? []).join(", ");
      list.append(make("dt", name), make("dd", [description, choices].filter(Boolean).join(" ")));
    }
    part.append(list);
  }
  const command = example(path, method, operation);
  if (command) part.append(make("pre", command));
  part.append(make("p", `Answers ${Object.keys(operation.responses).join(", ")}`, "quiet"));
  return part;
}

const schema = await (await fetch("/openapi.json")).json();
document.getElementById("operations").replaceChildren(...Object.entries(schema.paths).flatMap(
  ([path, operations]) => Object.entries(operations).map(([method, operation]) => section(path, method, operation)),
));
