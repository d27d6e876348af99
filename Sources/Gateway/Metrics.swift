// Prometheus's text format 0.0.4. A small set of series: the node's own figures, and the gateway's counters.

import MeshDocuments
import OpenAIFormat
import Synchronization

/// Counters of the gateway since it started.
final class GatewayCounters: Sendable {
    struct Values: Sendable {
        var open = 0
        var tokens: UInt64 = 0
        /// Bounded: only statuses that we send.
        var responses: [Int: UInt64] = [:]
    }
    private let values = Mutex(Values())

    var current: Values { values.withLock { $0 } }
    func opened() { values.withLock { $0.open += 1 } }
    func closed() { values.withLock { $0.open -= 1 } }
    func delivered(_ tokens: UInt32) { values.withLock { $0.tokens &+= UInt64(tokens) } }
    func answered(_ status: Int) { values.withLock { $0.responses[status, default: 0] += 1 } }
}

extension GatewayResponder {
    func metrics() async -> Response {
        let (status, peers, own) = (await node.status(), await node.peers(), counters.current)
        var text = MetricsText()
        text.family("starling_info", "gauge", "This node.")
        text.sample(1, ["name": status.name, "mesh": status.mesh, "version": status.version])
        text.family("starling_uptime_seconds", "gauge", "Seconds since the node started.")
        text.sample(status.uptimeSeconds)
        text.family("starling_peers", "gauge", "Live peers.")
        text.sample(status.peers)
        text.family("starling_tasks_running", "gauge", "Tasks asked at this node that have not ended.")
        text.sample(status.tasks.running)
        text.family("starling_tasks_total", "counter", "Tasks asked at this node, by how they ended.")
        text.sample(status.tasks.delivered, ["state": "delivered"])
        text.sample(status.tasks.refused, ["state": "refused"])
        text.sample(status.tasks.cancelled, ["state": "cancelled"])
        text.sample(status.tasks.failed, ["state": "failed"])
        text.family("starling_earned_microcredits_total", "counter", "Micro-credits earned by answering.")
        text.sample(status.earned.microCredits)
        text.family("starling_spent_microcredits_total", "counter", "Micro-credits spent by asking.")
        text.sample(status.spent.microCredits)
        text.family(
            "starling_owed_microcredits", "gauge", "Micro-credits that peers owe this node, or it owes them.")
        text.sample(status.owedToUs.microCredits, ["to": "this_node"])
        text.sample(status.owedByUs.microCredits, ["to": "peers"])
        served(status.models, &text)
        await usage(&text)
        text.family("starling_datagrams_dropped_total", "counter", "Datagrams dropped, by reason.")
        for (reason, count) in peers.dropped.sorted(by: { $0.key < $1.key }) {
            text.sample(count, ["reason": reason])
        }
        text.family("starling_http_responses_total", "counter", "HTTP responses begun, by status.")
        for (code, count) in own.responses.sorted(by: { $0.key < $1.key }) {
            text.sample(count, ["code": "\(code)"])
        }
        text.family("starling_http_answers_open", "gauge", "Answers in progress to HTTP clients.")
        text.sample(own.open)
        let held = connections.counts
        text.family("starling_http_connections", "gauge", "Open HTTP connections.")
        text.sample(held.open)
        text.family(
            "starling_http_connections_dropped_total", "counter",
            "HTTP connections closed at the bound: replaced by a newer one, or refused.")
        text.sample(held.replaced, ["as": "replaced"])
        text.sample(held.refused, ["as": "refused"])
        text.family("starling_http_tokens_total", "counter", "Tokens delivered to HTTP clients.")
        text.sample(own.tokens)
        return Reply.bytes(text.bytes, type: "text/plain; version=0.0.4; charset=utf-8")
    }

    /// Of the clients with keys, and the owner ("").
    private func usage(_ text: inout MetricsText) async {
        let usage = await node.usage(of: nil)
        text.family(
            "starling_client_tasks_total", "counter", "Tasks of clients that cost something or were answered."
        )
        for client in usage.clients { text.sample(client.used.all.tasks, ["client": client.client]) }
        text.family("starling_client_tokens_total", "counter", "Tokens of clients' tasks.")
        for client in usage.clients {
            text.sample(client.used.all.promptTokens, ["client": client.client, "kind": "prompt"])
            text.sample(client.used.all.completionTokens, ["client": client.client, "kind": "completion"])
        }
        text.family(
            "starling_client_cost_microcredits_total", "counter", "Micro-credits that clients' tasks cost.")
        for client in usage.clients {
            text.sample(client.used.all.cost.microCredits, ["client": client.client])
        }
        text.family(
            "starling_client_budget_left_microcredits", "gauge", "What a client may still spend today (UTC).")
        for client in usage.clients {
            if let left = client.budget.left { text.sample(left.microCredits, ["client": client.client]) }
        }
    }

    private func served(_ models: [ServedModelDocument], _ text: inout MetricsText) {
        text.family("starling_slots", "gauge", "Concurrent answers that can be given.")
        for model in models { text.sample(model.slots, ["model": model.model]) }
        text.family("starling_slots_busy", "gauge", "Answers in progress.")
        for model in models { text.sample(model.slotsBusy, ["model": model.model]) }
        text.family("starling_queue_places", "gauge", "Tasks that may wait for a slot.")
        for model in models { text.sample(model.places, ["model": model.model]) }
        text.family("starling_queue_waiting", "gauge", "Tasks that wait for a slot, bids included.")
        for model in models { text.sample(model.waiting, ["model": model.model]) }
        text.family("starling_backend_up", "gauge", "Whether the model server is up.")
        for model in models {
            text.sample(["ok", "busy"].contains(model.backend.state) ? 1 : 0, ["model": model.model])
        }
        text.family("starling_bids_total", "counter", "Bids made, by outcome.")
        for model in models {
            let bids = model.bids
            for (outcome, count) in [("won", bids.won), ("lost", bids.lost)] {
                text.sample(count, ["model": model.model, "outcome": outcome])
            }
        }
    }
}

private struct MetricsText {
    var bytes: [UInt8] = []
    private var name = ""

    mutating func family(_ name: String, _ type: String, _ help: String) {
        self.name = name
        bytes += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n".utf8
    }

    mutating func sample(_ value: some BinaryInteger, _ labels: KeyValuePairs<String, String> = [:]) {
        bytes += name.utf8
        if !labels.isEmpty {
            let pairs = labels.map { "\($0.key)=\"\(Self.escaped($0.value))\"" }
            bytes += "{\(pairs.joined(separator: ","))}".utf8
        }
        bytes += " \(value)\n".utf8
    }

    private static func escaped(_ value: String) -> String {
        var out = ""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\\": out += "\\\\"
            case "\"": out += "\\\""
            case "\n": out += "\\n"
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out
    }
}
