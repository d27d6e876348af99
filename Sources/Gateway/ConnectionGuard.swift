// What a client may hold without a key, or with one and forever: a connection (`Connections`), and a request whose body
// never ends.

import HTTPTypes
import NIOCore
import NIOHTTPTypes

/// The client took too long to send a request's body.
struct BodyOverdue: Error {}

/// Enters its connection in `Connections`, says there whose turn it is, and ends a body that takes too long: the
/// request's handler then gets a `BodyOverdue`, and the connection is closed a little later.
final class ConnectionGuard: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    /// A body may take `GatewayConfiguration.bodyTime`, and a second more for as many bytes as these that have arrived:
    /// 16 MiB need not be sent faster than over a line of 0.5 Mbit/s.
    static let bodyRate = 64 << 10
    /// For the answer to an overdue body to be sent.
    private static let closingTime = TimeAmount.seconds(5)

    private let connections: Connections
    private let bodyTime: TimeAmount
    private var id: ConnectionTable.ID?
    /// Requests whose head has arrived and whose answer isn't complete.
    private var inProgress = 0
    private var isReadingBody = false
    private var bodyBytes = 0
    private var bodyBegan: NIODeadline?
    private var bodyTimer: Scheduled<Void>?

    init(connections: Connections, bodyTime: TimeAmount) {
        self.connections = connections
        self.bodyTime = bodyTime
    }

    func handlerAdded(context: ChannelHandlerContext) {
        id = connections.open(context.channel)
        guard id == nil else { return }
        // Not at once: the rest of its pipeline is still being made.
        let channel = context.channel
        context.eventLoop.execute { channel.close(promise: nil) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        bodyTimer?.cancel()
        if let id { connections.close(id) }
        id = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head:
            inProgress += 1
            isReadingBody = true
        case .body(let part): bodyBytes += part.readableBytes
        case .end:
            isReadingBody = false
            endBodyTime()
            updateTurn(context)
        }
        context.fireChannelRead(data)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        // A request that arrives whole needs no timer.
        beginBodyTime(context)
        context.fireChannelReadComplete()
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if case .end = unwrapOutboundIn(data) {
            inProgress = max(0, inProgress - 1)
            updateTurn(context)
            beginBodyTime(context)
        }
        context.write(data, promise: promise)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        updateTurn(context)
        context.fireChannelWritabilityChanged()
    }

    /// The client waits for the node only for the answer to a complete request, and while it reads that.
    private func updateTurn(_ context: ChannelHandlerContext) {
        guard let id else { return }
        let isAnswering = inProgress > (isReadingBody ? 1 : 0)
        connections.set(id, waits: !(isAnswering && context.channel.isWritable))
    }

    // MARK: The body's time

    /// It doesn't run while an earlier request is answered: the node may not read on before that.
    private func beginBodyTime(_ context: ChannelHandlerContext) {
        guard isReadingBody, inProgress <= 1, bodyBegan == nil else { return }
        bodyBegan = .now()
        armBodyTimer(context, after: bodyTime)
    }

    private func endBodyTime() {
        bodyTimer?.cancel()
        (bodyTimer, bodyBegan, bodyBytes) = (nil, nil, 0)
    }

    private func armBodyTimer(_ context: ChannelHandlerContext, after time: TimeAmount) {
        bodyTimer = context.eventLoop.assumeIsolated().scheduleTask(in: time) { [weak self] in
            self?.bodyTimerFired(context)
        }
    }

    private func bodyTimerFired(_ context: ChannelHandlerContext) {
        guard let bodyBegan else { return }
        let due = bodyBegan + bodyTime + .seconds(Int64(bodyBytes / Self.bodyRate))
        let left = due - .now()
        guard left <= .nanoseconds(0) else { return armBodyTimer(context, after: left) }
        // What follows of the body must not begin it anew.
        bodyTimer = nil
        context.fireErrorCaught(BodyOverdue())
        bodyTimer = context.eventLoop.assumeIsolated().scheduleTask(in: Self.closingTime) {
            context.close(promise: nil)
        }
    }
}
