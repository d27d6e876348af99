import Glibc
import Logging
import NIOCore
import Synchronization

/// On the listening socket: when no file descriptor is left, accepts nothing for a second. NIO's own pause leaves the
/// socket in epoll's set, which then reports it again at once, for ever.
final class AcceptPause: ChannelInboundHandler, Sendable {
    typealias InboundIn = any Channel

    private static let length = TimeAmount.seconds(1)
    private static let warningsEvery = TimeAmount.minutes(1)
    private let logger: Logger
    private let warnedAt = Mutex<NIODeadline?>(nil)

    init(logger: Logger) { self.logger = logger }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let failure = error as? IOError, [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(failure.errnoCode) {
            warn()
            let channel = context.channel
            channel.setOption(.autoRead, value: false).whenComplete { _ in }
            channel.eventLoop.scheduleTask(in: Self.length) {
                channel.setOption(.autoRead, value: true).whenComplete { _ in }
            }
        }
        context.fireErrorCaught(error)
    }

    private func warn() {
        let now = NIODeadline.now()
        let isNews = warnedAt.withLock { warnedAt in
            if let last = warnedAt, now - last < Self.warningsEvery { return false }
            warnedAt = now
            return true
        }
        guard isNews else { return }
        logger.warning(
            "no file descriptor was left for an HTTP client: raise the limit of open files (ulimit -n)")
    }
}
