// The mesh's documents, models and health: the node provides the values, this file encodes them as JSON.

import FoundationEssentials
import MeshDocuments
import OpenAIFormat
import Primitives

extension GatewayResponder {
    /// Encodes with sorted keys, so that two answers can be compared.
    func document(_ document: some Encodable) -> Response {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(document) else {
            // A number that JSON doesn't have.
            return Reply.error(
                ErrorBody(
                    message: "This node can't write that document.", type: "server_error",
                    code: "server_error"),
                status: .internalServerError)
        }
        return Reply.json(Array(data))
    }

    /// Shorter beginnings of an id would often mean several tasks.
    private static let idPrefixMin = 6

    func task(_ id: String) async -> Response {
        guard id.utf8.count >= Self.idPrefixMin else {
            return Reply.error(
                .invalid(
                    "A task is named by its id, or by its first \(Self.idPrefixMin) letters or more.",
                    param: "id"),
                status: .badRequest)
        }
        if let found = await node.task(id) { return document(found) }
        return Reply.error(
            .invalid(
                "This node knows no task \(id.prefix(40)), or several. It keeps the last 1,000 tasks, of a busy hour"
                    + " fewer beyond its own end, and only those that were submitted here.",
                code: "task_not_found"), status: .notFound)
    }

    func health() async -> Response {
        let state = await node.status().state
        let body = JSONTree.object([
            .init("status", .string(state == .leaving ? "leaving" : "ok")),
            .init("state", .string(state.rawValue)),
        ])
        return Reply.json(body.bytes, status: state == .leaving ? .serviceUnavailable : .ok)
    }

    func models() async -> Response {
        let list = await node.catalogue().map(Self.entry)
        return Reply.json(
            JSONTree.object([.init("object", .string("list")), .init("data", .array(list))]).bytes)
    }

    func model(_ name: String) async -> Response {
        let catalogue = await node.catalogue()
        let canonical = Self.canonical(name, in: catalogue)
        guard let found = catalogue.first(where: { $0.model == canonical }) else {
            return Reply.error(Self.noSuchModel(name, in: catalogue), status: .notFound)
        }
        return Reply.json(Self.entry(found).bytes)
    }

    /// The canonical name is lower case, unless a model is sold under exactly the given name.
    static func canonical(_ name: String, in catalogue: [ModelSummaryDocument]) -> String {
        catalogue.contains { $0.model == name } ? name : name.lowercased()
    }

    static func noSuchModel(_ name: String, in catalogue: [ModelSummaryDocument]) -> ErrorBody {
        let names = catalogue.map(\.model)
        let near = Nearest.matches(name, in: names)
        let hint =
            if !near.isEmpty {
                "Did you mean \(Nearest.list(near))?"
            } else if names.isEmpty {
                "This node knows no models yet; `starling peers` (GET /mesh/peers) lists its peers."
            } else {
                "Known are \(names.prefix(8).joined(separator: ", "))\(names.count > 8 ? " and more" : "")."
            }
        return .invalid(
            "No node serves '\(name.prefix(100))'. \(hint)", param: "model", code: "model_not_found")
    }

    private static func entry(_ summary: ModelSummaryDocument) -> JSONTree {
        func price(_ price: PriceDocument) -> JSONTree {
            .object([
                .init("input", .number(String(price.input))),
                .init("cached_input", .number(String(price.cachedInput))),
                .init("output", .number(String(price.output))),
            ])
        }
        return .object([
            .init("id", .string(summary.model)), .init("object", .string("model")),
            .init("created", .number("0")),
            .init("owned_by", .string("starling")),
            .init(
                "starling",
                .object([
                    .init("providers", .number(String(summary.providers))),
                    .init("context", .number(String(summary.context))),
                    .init("quantizations", .array(summary.quantizations.map { .string($0) })),
                    .init("features", .array(summary.features.map { .string($0) })),
                    .init("lowest_price_ucr_per_million", price(summary.lowestPrice)),
                    .init("highest_price_ucr_per_million", price(summary.highestPrice)),
                ])),
        ])
    }
}
