// The verification servers on this database.

import { byId } from "./dom.js";
import { ago, compact, orDash } from "./format.js";
import { Table } from "./table.js";

const table = new Table(
  "Verification servers",
  [
    { title: "server", text: (server) => server.name },
    {
      title: "state",
      text: (server) => (server.alive ? "alive" : "not heard of"),
      tone: (server) => (server.alive ? null : "suspicious"),
    },
    { title: "last heard of", text: (server) => ago(server.seen_at) },
    { title: "tokens a second", number: true, text: (server) => orDash(server.tokens_per_second, compact) },
  ],
  (server) => server.name,
  "No verification server was ever seen.",
);

byId("servers").append(table.node);

export function showServers(servers) {
  table.show(servers);
}
