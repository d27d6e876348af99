// Notices that a client has gone while its handler only waits. Hummingbird's own
// `consumeWithCancellationOnInboundClose` can do so too, but costs two task groups a request, and it can't
// keep the connection alive.

import HTTPTypes
import NIOCore
import NIOHTTP1
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

/// Sees the connection close. Also answers `Expect: 100-continue`, which curl sends with large bodies.
///
/// The end of its reading half alone doesn't say whether the client has gone: the FIN of `close` and that of
/// `shutdown(SHUT_WR)`, after which `nc -N` and some proxies wait for their answer, are the same. Only the answer to
/// something that we send tells them apart: a reset, or nothing. So such a client is sent what means nothing: before
/// the answer's head, `100 Continue`, which every client of HTTP/1.1 skips (RFC 9110 §15.2); in an event stream, a
/// comment. Where neither is possible (HTTP/1.0, a request that isn't complete) it counts as gone.
final class ConnectionWatch: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private enum Answering {
        case no
        case whole
        case eventStream
    }

    /// A client that has ended its half is asked for a sign of life this often.
    private static let probeInterval = TimeAmount.seconds(5)

    let hangUp = HangUp()
    private let bodyBytesMax: Int
    private var answering = Answering.no
    /// Complete requests without a complete answer.
    private var unanswered = 0
    private let versionWatch = VersionWatch()
    private var probes: RepeatedTask?

    init(bodyBytesMax: Int) { self.bodyBytesMax = bodyBytesMax }

    func handlerAdded(context: ChannelHandlerContext) {
        let pipeline = context.pipeline.syncOperations
        guard let decoder = try? pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self) else {
            return
        }
        // Without it every client counts as one of HTTP/1.0.
        try? pipeline.addHandler(versionWatch, position: .after(decoder))
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            if unanswered == 0, head.headerFields[.expect]?.lowercased() == "100-continue",
                (head.headerFields[.contentLength].flatMap(Int.init) ?? 0) <= bodyBytesMax
            {
                sendContinue(context)
            }
        case .body: break
        case .end: unanswered += 1
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(let head):
            let isStream = head.headerFields[.contentType]?.hasPrefix("text/event-stream") ?? false
            answering = isStream ? .eventStream : .whole
        case .body: break
        case .end:
            answering = .no
            unanswered = max(0, unanswered - 1)
            if unanswered == 0 { probes?.cancel() }
        }
        context.write(data, promise: promise)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event as? ChannelEvent == .inputClosed { inputClosed(context) }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        probes?.cancel()
        hangUp.fire()
        context.fireChannelInactive()
    }

    private func inputClosed(_ context: ChannelHandlerContext) {
        guard probe(context) else { return hangUp.fire() }
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        probes = context.eventLoop.scheduleRepeatedTask(
            initialDelay: Self.probeInterval, delay: Self.probeInterval
        ) { _ in
            let (watch, context) = bound.value
            _ = watch.probe(context)
        }
    }

    /// Sends what a client skips, and a connection that is closed resets. Returns false when there is nothing such.
    private func probe(_ context: ChannelHandlerContext) -> Bool {
        switch answering {
        case .no:
            guard unanswered > 0, versionWatch.knowsInterimResponses else { return false }
            sendContinue(context)
        case .eventStream:
            context.writeAndFlush(wrapOutboundOut(.body(ByteBuffer(string: ":\n\n"))), promise: nil)
        // It is being written as a whole, which shows as well whether somebody reads.
        case .whole: break
        }
        return true
    }

    private func sendContinue(_ context: ChannelHandlerContext) {
        context.writeAndFlush(wrapOutboundOut(.head(HTTPResponse(status: .continue))), promise: nil)
    }
}

/// Notes the version of HTTP of the latest request, which the types of `HTTPTypes` don't hold.
private final class VersionWatch: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart

    private(set) var knowsInterimResponses = false

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .head(let head) = unwrapInboundIn(data) { knowsInterimResponses = head.version == .http1_1 }
        context.fireChannelRead(data)
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
