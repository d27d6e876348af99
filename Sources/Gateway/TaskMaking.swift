// Makes the market's task from a client's HTTP request.

import FoundationEssentials
import Market
import MeshDocuments
import NodeRuntime
import OpenAIFormat
import Primitives
import Wire

/// A longer deadline is cut to one day.
private let deadlineMax = Interval.milliseconds(ProviderPreferences.deadlineMillisecondsMax)

extension GatewayResponder {
    func taskRequest(_ client: ClientRequest, _ request: Request) async throws(ErrorBody) -> TaskRequest {
        var models: [String] = []
        for name in [client.model] + client.fallbackModels {
            let isCanonical = !name.utf8.contains(where: { $0 >= 0x80 || ($0 >= 0x41 && $0 <= 0x5A) })
            models.append(isCanonical ? name : Self.canonical(name, in: await node.catalogue()))
        }
        return TaskRequest(
            kind: client.kind.taskKind, model: models[0], fallbackModels: Array(models.dropFirst()),
            body: client.body, tokensIn: client.tokensIn,
            tokensOutEstimate: client.tokensOutEstimate, tokensOutMax: client.tokensOutMax,
            features: client.features, resumable: client.resumable, repeatable: client.repeatable,
            greedy: client.greedy,
            streams: client.stream,
            choices: client.choices, choicesEach: client.choicesEach, deadline: deadline(client, request),
            preferences: try await preferences(client.provider))
    }

    /// The client's own deadline, else the timeout that OpenAI's SDKs state, else the owner's. A client that comes back for
    /// its answer (`Idempotency-Key`) waits for longer than one try.
    private func deadline(_ client: ClientRequest, _ request: Request) -> Interval {
        if let stated = client.provider.deadlineMilliseconds { return .milliseconds(stated) }
        if request["idempotency-key"] == nil,
            let seconds = request["x-stainless-read-timeout"].flatMap(Double.init), seconds > 0,
            seconds <= 86_400
        {
            return .milliseconds(Int64(seconds * 1000))
        }
        return min(configuration.deadline, deadlineMax)
    }

    /// The owner's preferences, overridden by the request's.
    private func preferences(_ asked: ProviderPreferences) async throws(ErrorBody) -> Preferences {
        var preferences = terms.now.preferences
        if let price = asked.maxPromptPrice { preferences.maxInputPrice = price }
        if let price = asked.maxCompletionPrice { preferences.maxOutputPrice = price }
        if let cost = asked.maxCost { preferences.maxCost = cost }
        if !asked.quantizations.isEmpty { preferences.quantizations = asked.quantizations }
        if let speed = asked.minMillitokensPerSecond { preferences.minMillitokensPerSecond = speed }
        if let latency = asked.maxFirstTokenMilliseconds { preferences.maxFirstTokenMilliseconds = latency }
        if let trust = asked.minMillitrust { preferences.minMillitrust = trust }
        preferences.allowFallbacks = asked.allowFallbacks
        switch asked.sort {
        case .price: preferences.weights.timePerSecond = 0
        // So high that price hardly counts: 0.1 credits for a second.
        case .throughput, .latency: preferences.weights.timePerSecond = 100_000
        case nil: break
        }
        if !asked.order.isEmpty { preferences.order = try await keys(asked.order, "provider.order") }
        if !asked.only.isEmpty { preferences.only = try await keys(asked.only, "provider.only") }
        // Nodes that the owner denies stay denied.
        preferences.ignore += try await keys(asked.ignore, "provider.ignore")
        return preferences
    }

    private func keys(_ names: [String], _ path: String) async throws(ErrorBody) -> [PublicKey] {
        guard !names.isEmpty else { return [] }
        var keys: [PublicKey] = []
        for (index, match) in await node.resolve(nodes: names).enumerated() {
            let problem: String
            var code = "node_ambiguous"
            switch match {
            case .node(let key):
                keys.append(key)
                continue
            case .none:
                code = "node_not_found"
                problem =
                    "which is no node that this one knows. Use a node id (or the first \(NodeID.shortCount)"
                    + " characters of one) from `starling peers` (GET /mesh/peers), or a name from `names` in the"
                    + " node's configuration."
            case .several(let nodes):
                problem = "with which several ids begin. Use one of these public keys: \(Self.list(nodes))."
            case .labelled(let nodes):
                problem =
                    "a label that any node can give itself. Use a public key, or set `names:"
                    + " {\(names[index].prefix(32)): PUBLICKEY}` in the node's configuration. So labelled:"
                    + " \(Self.list(nodes))."
            }
            throw .invalid(
                "`\(path)` names \"\(names[index].prefix(100))\", \(problem)", param: "\(path)[\(index)]",
                code: code)
        }
        return keys
    }

    private static func list(_ nodes: [NodeCandidate]) -> String {
        nodes.map { node in
            let label = node.label.isEmpty ? "no label" : Printable.quoted(node.label)
            return "\(node.key) (\(label)\(node.endpoint.map { " at \($0)" } ?? ""))"
        }.joined(separator: ", ")
    }
}

extension ClientRequest.Kind {
    var taskKind: TaskKind {
        switch self {
        case .chat: .chat
        case .completion: .completion
        case .embedding: .embedding
        }
    }
}

extension ClientRequest {
    /// The features that a seller must offer.
    var features: Features { Features(rawValue: needs.rawValue) }
}
