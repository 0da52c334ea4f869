// A real D1 engine on loopback: workerd, started by miniflare, behind the paths of Cloudflare's REST API.
//
//   node engine.mjs <folder with node_modules> <number of databases>
//
// Prints one line of JSON, {"url": "http://127.0.0.1:<port>"}, when it answers, and ends when its standard
// input does. The databases exist from the start, empty; POST .../d1/database hands one out under the name
// that was asked for, and DELETE takes it back and empties it. `uuid`s are handed out again.

import { createRequire } from "node:module";
import { join } from "node:path";

const [folder, count] = process.argv.slice(2);
const require = createRequire(join(folder, "engine.js"));
const { Miniflare, Response } = require("miniflare");

const databases = Array.from({ length: Number(count) }, (_, i) => [
  `DB${i}`,
  `00000000-0000-4000-8000-${String(i).padStart(12, "0")}`,
]);

async function split(request) {
  const { unstable_splitSqlQuery } = require("wrangler");
  try {
    return Response.json(unstable_splitSqlQuery(await request.text()));
  } catch (error) {
    return Response.json({ refused: error.message });
  }
}

// Runs in workerd. The binding's own methods lose either the columns' names or `meta`, so the adapter
// talks to the service behind it, which runs an array of statements in one transaction.
const adapter = (ids) => {
  const named = new Map();
  const free = [...ids];
  const answer = (result, extra) =>
    Response.json({ success: true, errors: [], messages: [], result, ...extra });
  const refuse = (status, code, message) =>
    Response.json(
      { success: false, errors: [{ code, message }], messages: [], result: null },
      { status },
    );

  async function statements(env, body) {
    if (Array.isArray(body.batch)) return body.batch;
    if (typeof body.sql !== "string") return null;
    if (!/;\s*\S/.test(body.sql)) return [body];
    const parts = await (
      await env.SPLIT.fetch("http://split/", { method: "POST", body: body.sql })
    ).json();
    if (parts.refused) return parts;
    if (parts.length < 2) return [body];
    return body.params?.length ? null : parts.map((sql) => ({ sql }));
  }

  const post = (env, database, format, queries) =>
    env[database.binding].fetcher.fetch(`http://d1/query?resultsFormat=${format}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(queries),
    });

  async function run(env, database, format, request) {
    const queries = await statements(env, await request.json());
    if (queries === null) return refuse(400, 7400, "The request is malformed.");
    if (queries.refused) return refuse(400, 7500, queries.refused);
    const text = await (await post(env, database, format, queries)).text();
    let body;
    try {
      body = JSON.parse(text);
    } catch {
      return refuse(400, 7400, text.slice(0, 300)); // a value that the engine's protocol does not know
    }
    if (Array.isArray(body)) return answer(body);
    return refuse(400, 7500, body.error ?? text);
  }

  // `sqlite_sequence` cannot be dropped and stays, emptied. A database that will not be emptied is not
  // handed out again.
  async function empty(env, database) {
    const listing = `SELECT type, name, sql LIKE 'create virtual%' AS virtual FROM sqlite_schema
      WHERE type IN ('table', 'view') AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\'
      ORDER BY type DESC, virtual DESC`;
    const objects = (await (await post(env, database, "ARRAY_OF_OBJECTS", [{ sql: listing }])).json())[0];
    const drops = objects.results.map(({ type, name }) => ({
      sql:
        name === "sqlite_sequence"
          ? "DELETE FROM sqlite_sequence"
          : `DROP ${type} IF EXISTS "${name.replaceAll('"', '""')}"`,
    }));
    drops.unshift({ sql: "PRAGMA defer_foreign_keys = ON" });
    const done = await (await post(env, database, "NONE", drops)).json();
    if (Array.isArray(done)) free.push([database.binding, database.uuid]);
  }

  return {
    async fetch(request, env) {
      const url = new URL(request.url);
      const match = /^\/client\/v4\/accounts\/[^/]+\/d1\/database(?:\/([^/]+)(?:\/(raw|query))?)?$/.exec(
        url.pathname,
      );
      if (!match) return refuse(404, 7003, "Could not route to this path.");
      const [, id, verb] = match;
      if (id === undefined && request.method === "POST") {
        const { name } = await request.json();
        if ([...named.values()].some((d) => d.name === name))
          return refuse(409, 7502, "A database with this name already exists.");
        if (free.length === 0) return refuse(400, 7406, "All databases of this engine are handed out.");
        const [binding, uuid] = free.shift();
        const created_at = new Date().toISOString();
        named.set(uuid, { binding, name, uuid, created_at, version: "production" });
      }
      const shown = [...named.values()].map(({ binding, ...shown }) => shown);
      if (id === undefined) {
        if (request.method === "POST") return answer(shown.at(-1));
        const name = url.searchParams.get("name") ?? "";
        const page = Number(url.searchParams.get("page") ?? 1);
        const per_page = Number(url.searchParams.get("per_page") ?? 100);
        const found = shown.filter((d) => d.name.includes(name));
        const result = found.slice((page - 1) * per_page, page * per_page);
        const result_info = { page, per_page, count: result.length, total_count: found.length };
        return answer(result, { result_info });
      }
      const key = decodeURIComponent(id);
      const database = named.get(key) ?? [...named.values()].find((d) => d.name === key);
      if (!database) return refuse(404, 7404, "The database was not found.");
      if (verb === undefined && request.method === "DELETE") {
        named.delete(database.uuid);
        await empty(env, database);
        return answer(null);
      }
      if (verb === undefined) return answer(shown.find((d) => d.uuid === database.uuid));
      const format = verb === "raw" ? "ROWS_AND_COLUMNS" : "ARRAY_OF_OBJECTS";
      return run(env, database, format, request);
    },
  };
};

const miniflare = new Miniflare({
  modules: true,
  script: `export default (${adapter})(${JSON.stringify(databases)});`,
  compatibilityDate: "2026-01-01",
  d1Databases: Object.fromEntries(databases),
  serviceBindings: { SPLIT: split },
  host: "127.0.0.1",
  port: 0,
  cf: false,
});
const url = await miniflare.ready;
console.log(JSON.stringify({ url: url.origin }));

process.stdin.on("end", async () => {
  await miniflare.dispose();
  process.exit(0);
});
process.stdin.resume();
