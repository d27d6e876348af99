// A task's failure as an HTTP response: status, OpenAI's error object, and whether the SDK should retry. A
// retry is suggested only where waiting may help (busy, unreachable, leaving, over the rate, workers lost before
// they said anything). Otherwise an SDK's two retries would turn one refusal into three auctions, or buy a failed
// answer three times.

import Cryptography
import Market
import MeshDocuments
import NIOHTTP1
import OpenAIFormat
import Primitives

struct ExplainedFailure {
    let status: HTTPResponseStatus
    let body: ErrorBody
    /// When to retry; nil means don't.
    let retryAfter: Interval?

    init(
        _ failure: TaskFailure, task: String?, kind request: InferenceKind, model: String,
        isOneOfSeveral: Bool = false, catalogue: [ModelSummaryDocument]
    ) {
        let kind = Kind(failure.reason)
        status = kind.status
        let wasLost = failure.reason == .workerLost || failure.reason == .stalled
        retryAfter =
            kind.mayHelp || wasLost && failure.delivered == nil || failure.retryAfter != nil
            ? failure.retryAfter ?? .seconds(1) : nil
        var body = ErrorBody(
            message: failure.message, type: kind.type, code: failure.reason.code, param: kind.param)
        // Of several models the message names all, and the catalogue knows nothing better.
        if failure.reason == .modelNotFound, !isOneOfSeveral {
            body = GatewayResponder.noSuchModel(model, in: catalogue)
        }
        switch failure.reason {
        case .contextTooSmall, .contentFilter: body.param = request.subject
        case .invalidRequest: body.param = Self.field(namedBy: failure.message)
        default: break
        }
        if kind.type == "no_bid", let parameter = failure.nearest?.parameter { body.param = parameter }
        body.metadata = Self.metadata(failure, task: task, model: model, retryAfter: retryAfter)
        self.body = body
    }

    private struct Kind {
        var status: HTTPResponseStatus
        var type: String
        var param: String?
        var mayHelp = false

        init(_ reason: Reason) {
            switch reason {
            case .modelNotFound: self.init(.notFound, "invalid_request_error", "model")
            case .contextTooSmall, .invalidRequest, .contentFilter:
                self.init(.badRequest, "invalid_request_error")
            case .noBid, .notServed, .notSampled, .asked, .lacksParameter:
                self.init(.serviceUnavailable, "no_bid")
            case .overMaxPrice, .belowReserve: self.init(.serviceUnavailable, "no_bid", "provider.max_price")
            case .tooSlow: self.init(.serviceUnavailable, "no_bid", "provider.preferred_min_throughput")
            case .untrusted, .notAllowed: self.init(.serviceUnavailable, "no_bid", "provider.min_trust")
            case .excluded: self.init(.serviceUnavailable, "no_bid", "provider.only")
            case .busy, .notAsked, .paused, .holdLimit, .tooLate, .overRate, .unknownBid, .unreachable,
                .backendDown, .unspecified:
                self.init(.serviceUnavailable, "no_bid", mayHelp: true)
            case .leaving: self.init(.serviceUnavailable, "leaving", mayHelp: true)
            case .tooManyTasks: self.init(.tooManyRequests, "rate_limit_error", mayHelp: true)
            case .overBudget: self.init(.paymentRequired, "insufficient_quota")
            case .deadlineExceeded: self.init(.gatewayTimeout, "deadline_exceeded", "provider.deadline_ms")
            case .workerLost, .stalled, .protocolViolation, .backendError:
                self.init(.badGateway, "worker_error")
            case .cancelled: self.init(.clientClosedRequest, "cancelled")
            }
        }

        private init(
            _ status: HTTPResponseStatus, _ type: String, _ param: String? = nil, mayHelp: Bool = false
        ) {
            self.status = status
            self.type = type
            self.param = param
            self.mayHelp = mayHelp
        }
    }

    /// The path with which a worker's refusal begins (`RequestRules`); what a model server says has none.
    private static func field(namedBy message: String) -> String? {
        guard message.hasPrefix("`") else { return nil }
        let path = message.dropFirst().prefix { $0 != "`" }
        return path.isEmpty || path.count > 128 ? nil : String(path)
    }

    // MARK: Metadata

    private static func metadata(
        _ failure: TaskFailure, task: String?, model: String, retryAfter: Interval?
    ) -> JSONTree {
        func number(_ value: some BinaryInteger) -> JSONTree { .number(String(value)) }
        var members: [JSONTree.Member] = [
            // A quote is no task.
            .init("task", JSONTree(task)), .init("model", .string(model)),
            .init("known", number(failure.known)),
            .init("asked", number(failure.asked)), .init("bids", number(failure.bids)),
            .init("reasons", .object(failure.reasons.map { .init($0.reason.key, number($0.nodes)) })),
            .init("nearest", failure.nearest.map(nearest) ?? .null),
            .init(
                "alternatives",
                .array(
                    failure.alternatives.map {
                        .object([
                            .init("model", .string($0.model)),
                            .init("completion", .number(Credits.text($0.outputPrice))),
                        ])
                    })),
            .init(
                "retry_after_s", retryAfter.map { .number(String(Double($0.milliseconds) / 1000)) } ?? .null),
        ]
        if let context = failure.largestContext { members.append(.init("largest_context", number(context))) }
        if let delivered = failure.delivered {
            members.append(
                .init(
                    "usage",
                    .object([
                        .init("prompt_tokens", number(delivered.promptTokens)),
                        .init("completion_tokens", number(delivered.completionTokens)),
                        .init("cached_tokens", number(delivered.cachedTokens)),
                        .init("cost_ucr", number(delivered.cost.microCredits)),
                    ])))
        }
        return .object(members)
    }

    private static func nearest(_ nearest: NearestOffer) -> JSONTree {
        .object([
            .init("node_id", .string(NodeID(of: nearest.worker).description)),
            .init("name", .string(nearest.name)),
            .init("change", .object([.init(nearest.parameter, .number(value(nearest)))])),
        ])
    }

    /// Formats the value in the unit in which a client writes the preference.
    private static func value(_ nearest: NearestOffer) -> String {
        switch nearest.parameter {
        case let name where name.contains("price") || name.contains("cost"): Credits.text(nearest.value)
        case let name where name.contains("throughput") || name.contains("trust") || name.contains("latency"):
            String(Double(nearest.value) / 1000)
        default: String(nearest.value)
        }
    }
}
