// Notices that a client has gone while its handler only waits. Hummingbird's own `consumeWithCancellationOnInboundClose`
// does so too, at the price of two task groups a request and of the connection, which it can't keep alive.

import HTTPTypes
import NIOCore
import NIOHTTPTypes
import Synchronization

/// One connection's end, told to whoever handles its current request.
final class HangUp: Sendable {
    private let state = Mutex<(gone: Bool, action: (@Sendable () -> Void)?)>((false, nil))

    /// Runs `action` once when the client goes: on the connection's thread, or at once if it has gone.
    func perform(_ action: @escaping @Sendable () -> Void) {
        let gone = state.withLock { state in
            if !state.gone { state.action = action }
            return state.gone
        }
        if gone { action() }
    }

    /// The request has been answered.
    func clear() { state.withLock { $0.action = nil } }

    fileprivate func fire() {
        let action = state.withLock { state in
            state.gone = true
            defer { state.action = nil }
            return state.action
        }
        action?()
    }
}

/// Sees the connection close, or its reading half end: a client that half-closes and still waits is not told apart
/// from one that left, as in other servers. Also answers `Expect: 100-continue`, which curl sends with large bodies.
final class ConnectionWatch: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundOut = HTTPResponsePart

    let hangUp = HangUp()
    private let bodyBytesMax: Int

    init(bodyBytesMax: Int) { self.bodyBytesMax = bodyBytesMax }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .head(let head) = unwrapInboundIn(data),
            head.headerFields[.expect]?.lowercased() == "100-continue",
            (head.headerFields[.contentLength].flatMap(Int.init) ?? 0) <= bodyBytesMax
        {
            context.writeAndFlush(wrapOutboundOut(.head(HTTPResponse(status: .continue))), promise: nil)
        }
        context.fireChannelRead(data)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event as? ChannelEvent == .inputClosed { hangUp.fire() }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        hangUp.fire()
        context.fireChannelInactive()
    }
}

extension Channel {
    /// The connection's hang-up signal.
    func hangUp() async throws -> HangUp {
        try await eventLoop.submit {
            try self.pipeline.syncOperations.handler(type: ConnectionWatch.self).hangUp
        }.get()
    }
}
