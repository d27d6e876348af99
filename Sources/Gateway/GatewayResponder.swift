// Routes a request: admission, path, method. The work of each route is in other files.

import FoundationEssentials
import Logging
import NIOHTTP1
import NodeRuntime
import OpenAIFormat
import Primitives

struct GatewayResponder: Sendable {
    let node: any MeshNode
    let configuration: GatewayConfiguration
    let admission: Admission
    let terms: CurrentTerms
    let counters = GatewayCounters()
    let heartbeat: Heartbeat
    let connections: Connections
    let bodies: BodyBudget
    let replays: Replays

    init(node: any MeshNode, configuration: GatewayConfiguration, logger: Logger) {
        self.node = node
        self.configuration = configuration
        connections = Connections(countMax: configuration.connectionsMax, logger: logger)
        replays = Replays(keeps: configuration.replaysFor)
        bodies = BodyBudget(bytesMax: configuration.bodiesBytesMax)
        terms = CurrentTerms(configuration)
        admission = Admission(configuration, terms)
        heartbeat = Heartbeat(first: configuration.firstSignOfLife, every: configuration.signOfLifeEvery)
    }

    /// The response to a request that is refused, or answered, by its head; nil: its body is awaited.
    func refusal(of request: Request) -> Response? {
        // A browser's preflight request carries no key.
        let needsKey = request.method != .OPTIONS && request.route?.needsKey ?? true
        return admission.refusal(of: request, needsKey: needsKey) ?? misuse(request)
    }

    /// Adds what all responses have, and counts it.
    func completed(_ response: Response, _ request: Request?) -> Response {
        var response = response
        if !response.headers.contains(name: "x-request-id") {
            response.headers.add(name: "x-request-id", value: Reply.requestID())
        }
        if let request { admission.addAccess(for: request, to: &response.headers) }
        counters.answered(Int(response.status.code))
        return response
    }

    /// What is wrong with a request's path, method or form.
    private func misuse(_ request: Request) -> Response? {
        guard let route = request.route else {
            return request.method == .OPTIONS && request.path == "*"
                ? Response(status: .noContent) : unknown(request.path)
        }
        if request.method == .OPTIONS { return Response(status: .noContent, headers: ["allow": route.allow]) }
        guard route.methods.contains(request.method) else {
            var response = Reply.error(
                .invalid(
                    "\(request.path) takes \(route.methods[0].rawValue), not \(request.method.rawValue).",
                    code: "method_not_allowed"),
                status: .methodNotAllowed)
            response.headers.add(name: "allow", value: route.allow)
            return response
        }
        if request.contentLength > configuration.bodyBytesMax { return response(to: .tooLarge) }
        if route.takesBody, let coding = request.coding {
            var response = Reply.error(
                .invalid(
                    "The body has `\(coding.header): \(coding.value)`. This node takes bodies only as they are:"
                        + " leave the header out, and don't compress.", code: "unsupported_encoding"),
                status: .unsupportedMediaType)
            response.headers.add(name: "accept-encoding", value: "identity")
            return response
        }
        return nil
    }

    /// The response to a request that has arrived and isn't refused.
    func response(to request: Request) async -> Response {
        switch request.route {
        case .chat: return await answerOnce(.chat, request)
        case .completion: return await answerOnce(.completion, request)
        case .embedding: return await answerOnce(.embedding, request)
        case .quote: return await quote(request)
        case .models: return await models()
        case .model(let name): return await model(name)
        case .page: return Dashboard.response()
        case .health: return await health()
        case .metrics: return await metrics()
        case .peers: return document(await node.peers())
        case .offers: return document(await node.offers(model: request.parameter("model")))
        case .status: return document(await node.status())
        case .task(let id): return await task(id)
        case .pause:
            await node.pause()
            return document(await node.status())
        case .resume:
            await node.resume()
            return document(await node.status())
        case .price: return await price(request)
        case .ledger: return await ledger(request)
        case .settle: return await settle(request)
        case .usage:
            guard case .client(let key)? = admission.caller(of: request) else {
                return document(await node.usage(of: nil))
            }
            return document(await node.usage(of: key.name))
        case nil: return unknown(request.path)
        }
    }

    /// `GET /mesh/ledger?since=2026-11-01`
    private func ledger(_ request: Request) async -> Response {
        guard let text = request.parameter("since") else { return document(await node.accounts(since: nil)) }
        guard let day = CivilDay.parse(text) else {
            return Reply.error(
                .invalid(
                    "`since` in the query is \(text.prefix(40)): give a day (UTC), such as 2026-11-23.",
                    param: "since", code: "invalid_value"))
        }
        return document(await node.accounts(since: day))
    }

    /// `POST /mesh/settle`: `{"node": "ada"}`
    private func settle(_ request: Request) async -> Response {
        struct Asked: Decodable { var node: String }
        let body = Data(request.body?.take()?.bytes ?? [])
        guard let asked = try? JSONDecoder().decode(Asked.self, from: body) else {
            return Reply.error(
                .invalid(
                    #"The body is no JSON object that names a node: {"node": "ada"}."#, param: "node",
                    code: "invalid_value"))
        }
        do throws(SettleRefusal) {
            return document(try await node.settle(with: asked.node))
        } catch {
            let message = "Nothing is paid: \(error.problem). Fix: \(error.fix)."
            return error.wasRun
                ? Reply.error(
                    ErrorBody(message: message, type: "server_error", code: "settlement_failed"),
                    status: .internalServerError)
                : Reply.error(.invalid(message, param: "node", code: "cannot_settle"))
        }
    }

    /// `POST /mesh/price`: new terms for a model that this node sells.
    private func price(_ request: Request) async -> Response {
        let text = String(decoding: request.body?.take()?.bytes ?? [], as: UTF8.self)
        do throws(TermsRefusal) {
            try await node.setTerms(text)
            return document(await node.status())
        } catch {
            return Reply.error(
                .invalid(
                    "The terms stay as they are: \(error.problem). Fix: \(error.fix).", code: "invalid_terms")
            )
        }
    }

    private func unknown(_ path: String) -> Response {
        let shown = String(path.prefix(200))
        let message =
            if path == "/v1" || path.hasPrefix("/v1/") {
                "There is no \(shown) here. Chat is at POST /v1/chat/completions; the other endpoints are /v1/completions,"
                    + " /v1/embeddings and /v1/models."
            } else if let meant = ["/chat/completions", "/completions", "/embeddings", "/models"].first(
                where: {
                    path.hasSuffix($0)
                })
            {
                "There is no \(shown) here. Did you mean /v1\(meant)? The base URL ends in /v1."
            } else {
                "There is no \(shown) here. See /, /health, /metrics, /v1/chat/completions, /v1/completions,"
                    + " /v1/embeddings, /v1/models, /mesh/quote, /mesh/status, /mesh/peers, /mesh/offers, /mesh/tasks/ID,"
                    + " /mesh/usage, /mesh/ledger, /mesh/pause, /mesh/resume, /mesh/settle and /mesh/price."
            }
        return Reply.error(.invalid(message, code: "unknown_url"), status: .notFound)
    }

    // MARK: Requests that can't be received

    /// The response to what isn't HTTP, after which the connection closes.
    func response(to error: HTTPParserError) -> Response {
        let (status, message): (HTTPResponseStatus, String) =
            switch error {
            case .headerOverflow:
                (
                    .requestHeaderFieldsTooLarge,
                    "The request's target and headers are larger than \(Gateway.headBytesMax >> 10) KiB."
                )
            // HTTP/2's preface ends the reading of HTTP/1.
            case .invalidVersion, .paused:
                (.httpVersionNotSupported, "This node speaks HTTP/1.1 and HTTP/1.0, without TLS.")
            case .invalidEOFState:
                (.badRequest, "The connection ended in the middle of a request.")
            // Two lengths, or a chunk without its end.
            case .unknown, .strictModeAssertion:
                (.badRequest, "The length or the chunks of the request's body aren't as HTTP/1.1 has them.")
            default:
                (
                    .badRequest,
                    "This is no request of HTTP/1.1: \(error). With https:// in the URL, use http://."
                )
            }
        return Reply.error(.invalid(message, code: "malformed_request"), status: status)
    }

    func response(to refusal: BodyRefusal) -> Response {
        switch refusal {
        case .tooLarge:
            return Reply.error(
                .invalid(
                    "The body is larger than \(Self.size(configuration.bodyBytesMax)), the most that this node takes.",
                    code: "body_too_large"), status: .payloadTooLarge)
        case .tooMany:
            return Reply.error(
                ErrorBody(
                    message:
                        "This node is receiving \(Self.size(bodies.bytesMax)) of other large requests. Send it again in a"
                        + " few seconds.", type: "rate_limit_error", code: "too_many_bodies"),
                status: .serviceUnavailable, retryAfter: .seconds(5))
        case .overdue:
            let seconds = configuration.bodyTime.milliseconds / 1_000
            return Reply.error(
                .invalid(
                    "The body did not arrive in time: it may take \(seconds) s, and a second more for each"
                        + " \(HTTPConnection.bodyRate >> 10) KiB. Check the connection, and send it again.",
                    code: "body_timeout"), status: .requestTimeout, retryAfter: .seconds(1))
        }
    }

    private static func size(_ bytes: Int) -> String {
        bytes >= 1 << 20 ? "\(bytes >> 20) MiB" : "\(bytes) bytes"
    }
}
