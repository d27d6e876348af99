// Notices that a client has gone while its handler only waits. Hummingbird's own
// `consumeWithCancellationOnInboundClose` can do so too, but costs two task groups a request, and it can't
// keep the connection alive.

import HTTPTypes
import NIOCore
import NIOHTTPTypes
import Synchronization

/// Signals the end of one connection to the handler of its current request.
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

    /// Call when the request has been answered.
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

/// Sees the connection close, or its reading half end. As in other servers, a client that half-closes and
/// still waits can't be told from one that left. Also answers `Expect: 100-continue`, which curl sends with
/// large bodies.
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
    /// The hang-up signal of the connection.
    func hangUp() async throws -> HangUp {
        try await eventLoop.submit {
            try self.pipeline.syncOperations.handler(type: ConnectionWatch.self).hangUp
        }.get()
    }
}
