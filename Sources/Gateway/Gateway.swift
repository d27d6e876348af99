// The node's HTTP/1.1 surface for its own clients: OpenAI's API, the mesh's documents, metrics and a small
// page.
//
// It knows the node only through `MeshNode`. All connections are on one thread, each with an `HTTPConnection` behind
// SwiftNIO's decoder and encoder of HTTP/1. A request is one Swift task on that thread. It enters the node's loop once,
// to submit, and then takes batches of events from the task's bounded pipe.

import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import NodeRuntime
import Synchronization

/// The bound of `ConnectionTable` is reached, or the node is leaving.
private struct ConnectionRefused: Error {}

/// An HTTP server for one node.
public final class Gateway: Sendable {
    private let responder: GatewayResponder
    private let configuration: GatewayConfiguration
    private let logger: Logger
    private let state = Mutex<(listener: (any Channel)?, isLeaving: Bool)>((nil, false))
    /// One thread for the process, never stopped: the node's work is on its own loop, and connections may
    /// briefly outlive a cancelled gateway.
    private static let loop = MultiThreadedEventLoopGroup(numberOfThreads: 1).next()
    static let executor = LoopExecutor(loop)
    /// Connections that the kernel completes and holds until we accept them. A burst of clients beyond it waits a
    /// second for the next try.
    private static let backlog: Int32 = 1_024
    /// A request's target and headers together; more is refused with 431.
    static let headBytesMax = 64 << 10

    public init(
        node: any MeshNode, configuration: GatewayConfiguration, logger: Logger
    ) throws(GatewayError) {
        guard configuration.isLoopback || !configuration.apiKeys.isEmpty else {
            throw .openWithoutKeys(host: configuration.host)
        }
        self.configuration = configuration
        self.logger = logger
        responder = GatewayResponder(node: node, configuration: configuration, logger: logger)
    }

    /// Serves until `shutDown` was called and running answers have ended, or until the calling task is
    /// cancelled, which aborts them. `onListening` gets the port. Throws `GatewayError` when it can't listen.
    public func run(onListening: @escaping @Sendable (Int) async -> Void = { _ in }) async throws {
        let listener = try await listen()
        let isLeaving = state.withLock { state in
            state.listener = listener
            return state.isLeaving
        }
        if isLeaving { leave(listener) }
        let connections = responder.connections
        await withTaskCancellationHandler {
            await onListening(listener.localAddress?.port ?? 0)
            // It has closed; how doesn't matter.
            try? await listener.closeFuture.get()
            let open = connections.leave().map(\.closeFuture)
            try? await EventLoopFuture.andAllComplete(open, on: Self.loop).get()
        } onCancel: {
            Self.loop.execute {
                listener.close(promise: nil)
                for channel in connections.leave() { channel.close(promise: nil) }
            }
        }
    }

    private func listen() async throws -> any Channel {
        let (responder, logger) = (responder, logger)
        var limits = NIOHTTPDecoderLimitConfiguration()
        (limits.maxHeaderFieldSize, limits.maxHeaderListSize) = (Self.headBytesMax, Self.headBytesMax)
        let bootstrap = ServerBootstrap(group: Self.loop)
            .serverChannelOption(.backlog, value: Self.backlog)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(AcceptPause(logger: logger))
                }
            }
            // See `HTTPConnection` for clients that end their half.
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { [limits] channel in
                channel.eventLoop.makeCompletedFuture {
                    guard let id = responder.connections.open(channel) else { throw ConnectionRefused() }
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandlers(
                        HTTPResponseEncoder(),
                        ByteToMessageHandler(HTTPRequestDecoder(limitConfiguration: limits)),
                        HTTPConnection(responder, id: id, executor: Self.executor))
                }
            }
        do {
            return try await bootstrap.bind(host: configuration.host, port: configuration.port).get()
        } catch {
            throw translated(error)
        }
    }

    /// Applies what may change while it serves: API keys, preferences, and allowed fields.
    public func reload(_ configuration: GatewayConfiguration) { responder.terms.set(configuration) }

    /// Stops listening. Running answers finish, and then `run` returns.
    public func shutDown() async {
        let listener = state.withLock { state in
            state.isLeaving = true
            return state.listener
        }
        if let listener { leave(listener) }
    }

    private func leave(_ listener: any Channel) {
        let connections = responder.connections
        // On the thread of all connections, so that none is accepted in between.
        Self.loop.execute {
            for channel in connections.leave() {
                channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
            }
            listener.close(promise: nil)
        }
    }

    private func translated(_ error: any Error) -> any Error {
        guard let failure = error as? IOError else { return error }
        let (host, port) = (configuration.host, configuration.port)
        return failure.errnoCode == EADDRINUSE
            ? GatewayError.portTaken(host: host, port: port)
            : GatewayError.cannotListen(host: host, port: port, reason: failure.description)
    }
}
