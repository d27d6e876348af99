// A small page: the node's identity, its live numbers, and links to more. One file that loads nothing from
// elsewhere. Everything it shows about other nodes is set as text, never as markup, and the policy forbids
// foreign scripts.

import NIOHTTP1
import Primitives

enum Dashboard {
    static func response() -> Response {
        let nonce = Base32.encode((0..<15).map { _ in UInt8.random(in: 0...255) })
        var response = Reply.bytes(Array(page(nonce: nonce).utf8), type: "text/html; charset=utf-8")
        response.headers.add(
            name: "content-security-policy",
            value:
                "default-src 'none'; connect-src 'self'; script-src 'nonce-\(nonce)'; style-src 'nonce-\(nonce)';"
                + " frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
        response.headers.add(name: "x-content-type-options", value: "nosniff")
        return response
    }

    private static func page(nonce: String) -> String {
        """
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>Starling node</title>
        <style nonce="\(nonce)">
        :root { color-scheme: light dark; }
        body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }
        h1 { font-size: 1.4rem; margin-bottom: 0; }
        table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem; }
        th, td { text-align: left; padding: .2rem .8rem .2rem 0; vertical-align: top; overflow-wrap: anywhere; }
        th { font-weight: 600; white-space: nowrap; }
        code { font-size: .9em; }
        .quiet { opacity: .7; }
        </style>
        </head>
        <body>
        <h1 id="name">Starling node</h1>
        <p id="line" class="quiet">Asking the node how it is…</p>
        <table id="facts"></table>
        <h2>Sells</h2>
        <table id="models"></table>
        <p>OpenAI-compatible API at <code id="base">/v1</code>. Documents: <a href="/mesh/status">status</a>,
        <a href="/mesh/peers">peers</a>, <a href="/mesh/offers">offers</a>, <a href="/v1/models">models</a>,
        <a href="/metrics">metrics</a>.</p>
        <p class="quiet">The node that answers a question sees it.</p>
        <script nonce="\(nonce)">
        const at = id => document.getElementById(id);
        const row = (table, cells, head) => {
          const line = table.insertRow();
          cells.forEach((cell, index) => {
            const box = document.createElement(head || index === 0 ? "th" : "td");
            box.textContent = cell;
            line.append(box);
          });
        };
        const credits = micro => (micro / 1e6).toLocaleString("en", {maximumFractionDigits: 6});
        at("base").textContent = location.origin + "/v1";
        async function show() {
          try {
            const answer = await fetch("/mesh/status");
            if (!answer.ok) throw new Error("it answered " + answer.status);
            const s = await answer.json();
            document.title = s.name + " · Starling";
            at("name").textContent = s.name + " · " + s.node_id.slice(0, 12);
            at("line").textContent = [s.state, "reach " + s.reach.state, s.peers + " peers", "mesh " + s.mesh].join(" · ");
            const facts = at("facts");
            facts.replaceChildren();
            if (s.reach.fix) row(facts, ["Fix", s.reach.fix]);
            if (s.next) row(facts, ["Next", s.next]);
            row(facts, ["Up", Math.floor(s.uptime_s / 3600) + " h " + Math.floor(s.uptime_s / 60) % 60 + " min"]);
            row(facts, ["Asked here", s.tasks.running + " running, " + s.tasks.delivered + " delivered, "
              + s.tasks.refused + " refused, " + s.tasks.failed + " failed"]);
            row(facts, ["Earned", credits(s.earned_ucr) + " cr from " + s.earned_from + " nodes"]);
            row(facts, ["Spent", credits(s.spent_ucr) + " cr"]);
            row(facts, ["Version", s.version]);
            const models = at("models");
            models.replaceChildren();
            if (s.models.length === 0) row(models, ["Nothing: this node only asks."]);
            else row(models, ["model", "slots busy", "waiting", "backend", "tokens/s", "bids won"], true);
            for (const m of s.models) {
              row(models, [m.model, m.slots_busy + " of " + m.slots, m.waiting + " of " + m.places, m.backend.error || m.backend.state,
                m.tokens_per_s === null ? "?" : Math.round(m.tokens_per_s), m.bids.won + " of " + m.bids.made]);
            }
          } catch (error) {
            at("line").textContent = "No news from the node: " + error.message + ".";
          }
        }
        show();
        setInterval(show, 2000);
        </script>
        </body>
        </html>
        """
    }
}
