// Routes a request: admission, path, method. The work of each route is in other files.

import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import NodeRuntime
import OpenAIFormat

struct GatewayContext: InitializableFromSource {
    let channel: any Channel
    init(source: ApplicationRequestContextSource) { channel = source.channel }
}

struct GatewayResponder: HTTPResponder {
    typealias Context = GatewayContext

    let node: any MeshNode
    let configuration: GatewayConfiguration
    let admission: Admission
    let counters = GatewayCounters()
    let connections: Connections
    let bodies: BodyBudget

    init(node: any MeshNode, configuration: GatewayConfiguration, logger: Logger) {
        self.node = node
        self.configuration = configuration
        connections = Connections(countMax: configuration.connectionsMax, logger: logger)
        bodies = BodyBudget(bytesMax: configuration.bodiesBytesMax)
        admission = Admission(configuration)
    }

    func respond(to request: Request, context: GatewayContext) async throws -> Response {
        var response: Response
        do {
            response = try await answer(request, context)
        } catch let refusal as BodyRefusal {
            response = self.response(to: refusal)
        }
        if response.headers[.requestID] == nil { response.headers[.requestID] = Reply.requestID() }
        if let origin = request.headers[.origin],
            admission.allows(origin: origin, authority: request.head.authority ?? "")
        {
            response.headers[.accessControlAllowOrigin] = origin
            response.headers[.vary] = "origin"
        }
        counters.answered(response.status.code)
        return request.method == .head ? response.createHeadResponse() : response
    }

    private func answer(_ request: Request, _ context: GatewayContext) async throws -> Response {
        let route = Route(path: request.uri.path)
        // A browser's preflight request carries no key.
        let needsKey = request.method != .options && route?.needsKey ?? true
        if let refusal = admission.refusal(of: request, needsKey: needsKey) { return refusal }
        guard let route else { return unknown(request.uri.path) }
        if request.method == .options { return options(route) }
        guard route.methods.contains(request.method) else {
            var response = Reply.error(
                .invalid(
                    "\(request.uri.path) takes \(route.methods[0].rawValue), not \(request.method.rawValue)."),
                status: .methodNotAllowed)
            response.headers[.allow] = route.allow
            return response
        }
        switch route {
        case .chat: return try await answer(.chat, request, context)
        case .completion: return try await answer(.completion, request, context)
        case .embedding: return try await answer(.embedding, request, context)
        case .models: return await models()
        case .model(let name): return await model(name)
        case .page: return Dashboard.response()
        case .health: return await health()
        case .metrics: return await metrics()
        case .peers: return try document(await node.peers())
        case .offers: return try await offers(request)
        case .status: return try document(await node.status())
        case .task(let id): return try await task(id)
        case .pause:
            await node.pause()
            return try document(await node.status())
        case .resume:
            await node.resume()
            return try document(await node.status())
        }
    }

    private func options(_ route: Route) -> Response {
        var response = Response(status: .noContent)
        response.headers[.allow] = route.allow
        response.headers[.accessControlAllowMethods] = route.allow
        response.headers[.accessControlAllowHeaders] = "authorization, content-type"
        return response
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
                    + " /v1/embeddings, /v1/models, /mesh/status, /mesh/peers, /mesh/offers, /mesh/tasks/ID,"
                    + " /mesh/pause and /mesh/resume."
            }
        return Reply.error(.invalid(message, code: "unknown_url"), status: .notFound)
    }
}
