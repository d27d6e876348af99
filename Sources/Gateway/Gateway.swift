// The node's HTTP/1.1 surface for its own clients: OpenAI's API, the mesh's documents, metrics and a small
// page.
//
// It knows the node only through `MeshNode`. A request is one Swift task. It enters the node's loop once, to
// submit, and then takes batches of events from the task's bounded pipe.

import Hummingbird
import Logging
import NIOCore
import NIOPosix
import NodeRuntime
import ServiceLifecycle
import Synchronization

/// An HTTP server for one node.
public final class Gateway: Sendable {
    private let responder: GatewayResponder
    private let configuration: GatewayConfiguration
    private let logger: Logger
    private let group = Mutex<ServiceGroup?>(nil)
    private let stopping = Mutex(false)
    /// One thread for the process, never stopped: the node's work is on its own loop, and connections may
    /// briefly outlive a cancelled gateway.
    private static let threads = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    /// Connections that the kernel completes and holds until we accept them. A burst of clients beyond it waits a
    /// second for the next try.
    private static let backlog = 1_024
    /// A connection on which nothing of a request arrives is closed after this time. `ConnectionGuard` bounds the rest.
    private static let idleTimeout = TimeAmount.seconds(75)

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
        let (bodyBytesMax, connections) = (configuration.bodyBytesMax, responder.connections)
        let bodyTime = TimeAmount.nanoseconds(configuration.bodyTime.nanoseconds)
        // The server logs harmless events, such as being cancelled, as errors; real failures are thrown.
        var quiet = logger
        quiet.logLevel = max(logger.logLevel, .critical)
        let application = Application(
            responder: responder,
            server: .http1(
                configuration: .init(
                    additionalChannelHandlers: [
                        ConnectionGuard(connections: connections, bodyTime: bodyTime),
                        ConnectionWatch(bodyBytesMax: bodyBytesMax),
                    ],
                    idleTimeout: Self.idleTimeout)),
            configuration: .init(
                address: .hostname(configuration.host, port: configuration.port), backlog: Self.backlog),
            onServerRunning: { [logger] channel in
                // Nothing needs to happen when it fails: then the channel has closed.
                try? await channel.pipeline.addHandler(AcceptPause(logger: logger), position: .first).get()
                await onListening(channel.localAddress?.port ?? 0)
            },
            eventLoopGroupProvider: .shared(Self.threads),
            logger: quiet
        )
        let services = ServiceGroup(configuration: .init(services: [application], logger: quiet))
        group.withLock { $0 = services }
        if stopping.withLock({ $0 }) { await services.triggerGracefulShutdown() }
        do {
            try await services.run()
        } catch {
            throw translated(error)
        }
    }

    /// Stops listening. Running answers finish, and then `run` returns.
    public func shutDown() async {
        stopping.withLock { $0 = true }
        await group.withLock { $0 }?.triggerGracefulShutdown()
    }

    private func translated(_ error: any Error) -> any Error {
        guard let failure = error as? IOError else { return error }
        let (host, port) = (configuration.host, configuration.port)
        return failure.errnoCode == EADDRINUSE
            ? GatewayError.portTaken(host: host, port: port)
            : GatewayError.cannotListen(host: host, port: port, reason: failure.description)
    }
}
