import Glibc
import Primitives
import Testing

@testable import UVLoop

@Suite(.timeLimit(.minutes(1))) struct TCPTests {
    @Test func megabytesComeBackThroughAnEchoThatObeysBackPressure() async throws {
        try await withLoop { owner in
            let done = Promise<EchoTotals>()
            let total = 16 * 1024 * 1024
            try await owner.run { owner in try startEcho(on: owner.loop, total: total, done) }
            let totals = await done.value()
            #expect(totals.received == total && totals.inOrder)
            #expect(totals.pauses > 0, "the echo had to pause")
            #expect(totals.queuedMost <= TCPLimits().highWater + 64 * 1024, "the queue stayed bounded")
            #expect(totals.end == .ended)
        }
    }

    @Test func nobodyListeningIsARefusalThatSaysSo() async throws {
        try await withLoop { owner in
            let ended = Promise<TCPEnd>()
            try await owner.run { owner in
                let listener = try TCPListener(on: owner.loop, bind: anyPort) { _ in }
                let gone = listener.endpoint
                listener.close()
                let connection = try TCPConnection(on: owner.loop, to: gone)
                connection.onConnected = { Issue.record("connected") }
                connection.onClosed = { ended.keep($0) }
            }
            let error = try #require(await ended.value().failure)
            #expect(error.code == ECONNREFUSED)
            #expect(error.description.hasPrefix("nothing listens at 127.0.0.1:"))
        }
    }

    @Test func anEndpointThatCannotBeReachedEndsByTheSameCallback() async throws {
        try await withLoop { owner in
            let ended = Promise<TCPEnd>()
            try await owner.run { owner in
                let connection = try TCPConnection(on: owner.loop, to: Endpoint(ipv4: 0xffff_ffff, port: 9))
                connection.onClosed = { ended.keep($0) }
                connection.write([1, 2, 3])
            }
            #expect(await ended.value().failure != nil)
        }
    }

    @Test func aListenerThatNeverAnswersTimesTheAttemptOut() async throws {
        // A listening socket with a full backlog drops SYNs, which looks like an unreachable machine.
        let full = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(full) }
        let status = SocketAddress.with(anyPort) { bind(full, $0, 16) }
        try #require(status == 0 && listen(full, 0) == 0)
        guard
            case .success(let endpoint) = SocketAddress.read({ address, length in
                var size = socklen_t(length.pointee)
                return getsockname(full, address, &size)
            })
        else { throw CancellationError() }
        try await withLoop { owner in
            let ends = Promise<TCPEnd>()
            try await owner.run { owner in
                // The first one or two fit the backlog; the others are never answered.
                for _ in 0..<4 {
                    let connection = try TCPConnection(
                        on: owner.loop, to: endpoint, timeout: .milliseconds(50))
                    connection.onClosed = { ends.keep($0) }
                }
            }
            #expect(await ends.value() == .timedOut)
        }
    }

    @Test func aTakenPortIsAnErrorThatSaysSo() async throws {
        try await withLoop { owner in
            await owner.run { owner in
                do {
                    let first = try TCPListener(on: owner.loop, bind: anyPort) { _ in }
                    let error = #expect(throws: SocketError.self) {
                        _ = try TCPListener(on: owner.loop, bind: first.endpoint) { _ in }
                    }
                    #expect(error?.description.hasPrefix("port \(first.endpoint.port) is taken") == true)
                } catch { Issue.record(error) }
            }
        }
    }

    @Test func aGracefulCloseDeliversEverythingThatWasQueued() async throws {
        try await withLoop { owner in
            let finished = Promise<(Int, TCPEnd)>()
            let closed = Promise<TCPEnd>()
            let total = 5_000_000
            try await owner.run { owner in
                let listener = try TCPListener(on: owner.loop, bind: anyPort) { connection in
                    var count = 0
                    connection.onBytes = { count += $0.count }
                    connection.onClosed = { finished.keep((count, $0)) }
                }
                let client = try TCPConnection(on: owner.loop, to: listener.endpoint)
                // Written before it is connected: it waits, then is sent.
                client.write([UInt8](repeating: 9, count: total))
                client.onClosed = { closed.keep($0) }
                client.onConnected = {
                    client.close()
                    #expect(!client.write([1]))
                }
            }
            let (count, end) = await finished.value()
            #expect(count == total && end == .ended)
            #expect(await closed.value() == .closed)
        }
    }

    @Test func aPeerThatDoesNotReadCannotHoldAClosedConnectionOpen() async throws {
        try await withLoop { owner in
            let closed = Promise<TCPEnd>()
            try await owner.run { owner in
                let listener = try TCPListener(on: owner.loop, bind: anyPort) { $0.pauseReading() }
                var limits = TCPLimits()
                limits.closeTimeout = .milliseconds(30)
                let client = try TCPConnection(on: owner.loop, to: listener.endpoint, limits: limits)
                client.write([UInt8](repeating: 9, count: 15_000_000))
                client.onClosed = { closed.keep($0) }
                client.onConnected = { client.close() }
            }
            #expect(await closed.value() == .timedOut)
        }
    }

    @Test func anAbortResetsThePeer() async throws {
        try await withLoop { owner in
            let ends = Promise<TCPEnd>()
            let aborted = Promise<TCPEnd>()
            try await owner.run { owner in
                let listener = try TCPListener(on: owner.loop, bind: anyPort) { connection in
                    connection.onBytes = { _ in connection.abort() }
                    connection.onClosed = { aborted.keep($0) }
                }
                let client = try TCPConnection(on: owner.loop, to: listener.endpoint)
                client.write([1])
                client.onClosed = { ends.keep($0) }
            }
            #expect(await aborted.value() == .aborted)
            let error = try #require(await ends.value().failure)
            #expect(error.code == ECONNRESET)
        }
    }

    @Test func writingToAPeerThatIsGoneEndsTheConnectionAndNotTheProcess() async throws {
        try await withLoop { owner in
            let ended = Promise<TCPEnd>()
            try await owner.run { owner in
                let listener = try TCPListener(on: owner.loop, bind: anyPort) { connection in
                    connection.onBytes = { _ in connection.abort() }
                }
                let client = try TCPConnection(on: owner.loop, to: listener.endpoint)
                client.pauseReading()
                client.onClosed = { ended.keep($0) }
                client.onConnected = {
                    client.write([1])
                    // Keep writing until the reset arrives: as an error of a write, a broken pipe or an end.
                    let ticker = Ticker()
                    ticker.timer = try? Timer(on: owner.loop) {
                        client.write([UInt8](repeating: 0, count: 1_000))
                        if client.isOpen {
                            ticker.timer?.arm(after: .milliseconds(1))
                        } else {
                            ticker.timer?.close()
                        }
                    }
                    ticker.timer?.arm(after: .milliseconds(1))
                }
            }
            let error = try #require(await ended.value().failure)
            #expect([EPIPE, ECONNRESET].contains(error.code))
        }
    }

    @Test func anOwnerThatIgnoresBackPressureLosesItsConnection() async throws {
        try await withLoop { owner in
            let ended = Promise<TCPEnd>()
            try await owner.run { owner in
                let listener = try TCPListener(on: owner.loop, bind: anyPort) { $0.pauseReading() }
                var limits = TCPLimits()
                limits.queuedMax = 1_000_000
                let client = try TCPConnection(on: owner.loop, to: listener.endpoint, limits: limits)
                client.onClosed = { ended.keep($0) }
                client.onConnected = {
                    while client.isOpen { client.write([UInt8](repeating: 0, count: 100_000)) }
                }
            }
            #expect(await ended.value() == .overflowed)
        }
    }

    @Test func pausedReadingDeliversNothingUntilResumed() async throws {
        try await withLoop { owner in
            let received = Promise<[UInt8]>()
            try await owner.run { owner in
                let listener = try TCPListener(on: owner.loop, bind: anyPort) { connection in
                    connection.pauseReading()
                    var isResumed = false
                    connection.onBytes = {
                        #expect(isResumed)
                        received.keep(Array($0))
                    }
                    let timer = try? Timer(on: connection.loop) {
                        isResumed = true
                        connection.resumeReading()
                        connection.resumeReading()
                    }
                    timer?.arm(after: .milliseconds(20))
                }
                let client = try TCPConnection(on: owner.loop, to: listener.endpoint)
                client.onConnected = { client.write([1, 2, 3]) }
            }
            #expect(await received.value() == [1, 2, 3])
        }
    }

    @Test(.enabled(if: hasIPv6())) func bothFamiliesReachAListenerOnTheUnspecifiedAddress() async throws {
        try await withLoop { owner in
            let remotes = Promise<Endpoint>()
            let port = try await owner.run { owner in
                let listener = try TCPListener(on: owner.loop, bind: Endpoint(high: 0, low: 0, port: 0)) {
                    remotes.keep($0.remote)
                }
                return listener.endpoint.port
            }
            try await owner.run { owner in _ = try TCPConnection(on: owner.loop, to: .loopback(port)) }
            #expect(await remotes.value().isIPv4)
            try await owner.run { owner in
                _ = try TCPConnection(on: owner.loop, to: Endpoint(high: 0, low: 1, port: port))
            }
            #expect(await remotes.value().low == 1)
        }
    }

    @Test func connectionsThatComeAndGoLeaveNothingBehind() async throws {
        let loop = try EventLoop()
        loop.start()
        let owner = Owner(loop)
        let ends = Promise<TCPEnd>()
        let alive = Weak()
        try await owner.run { owner in
            let listener = try TCPListener(on: owner.loop, bind: anyPort) { connection in
                alive.objects.append(WeakReference(connection))
                connection.onBytes = { connection.write($0) }
                connection.onClosed = { ends.keep($0) }
            }
            for i in 0..<100 {
                let client = try TCPConnection(on: owner.loop, to: listener.endpoint)
                alive.objects.append(WeakReference(client))
                client.onConnected = { client.write([UInt8](repeating: 1, count: 10_000)) }
                client.onBytes = { _ in if i % 2 == 0 { client.close() } else { client.abort() } }
                client.onClosed = { ends.keep($0) }
            }
        }
        for _ in 0..<200 { _ = await ends.value() }
        await owner.run { _ in #expect(alive.objects.allSatisfy { $0.object?.isOpen != true }) }
        loop.stop()
        #expect(alive.objects.count == 200 && alive.objects.allSatisfy { $0.object == nil })
    }
}

struct EchoTotals: Sendable {
    var received = 0
    var inOrder = true
    var pauses = 0
    var queuedMost = 0
    var end: TCPEnd?
}

/// A client that writes `total` bytes as fast as it may and at first reads slowly, and a server that echoes
/// and stops reading while its own queue is above the high-water mark.
private func startEcho(on loop: EventLoop, total: Int, _ done: Promise<EchoTotals>) throws {
    var totals = EchoTotals()
    let listener = try TCPListener(on: loop, bind: anyPort) { server in
        server.onBytes = { bytes in
            if !server.write(bytes) {
                totals.pauses += 1
                server.pauseReading()
            }
            totals.queuedMost = max(totals.queuedMost, server.queuedBytes)
        }
        server.onWritable = { server.resumeReading() }
        server.onClosed = { end in
            totals.end = end
            done.keep(totals)
        }
    }
    let client = try TCPConnection(on: loop, to: listener.endpoint)
    let pattern = (0..<50_251).map { UInt8(truncatingIfNeeded: $0 % 251) }
    var written = 0
    func writeMore() {
        while written < total {
            let count = min(50_000, total - written)
            let chunk = Array(pattern[written % 251..<written % 251 + count])
            written += count
            if !client.write(chunk) { return }
        }
    }
    client.onConnected = { writeMore() }
    client.onWritable = { writeMore() }
    client.onBytes = { bytes in
        if let first = bytes.first, first != UInt8(truncatingIfNeeded: totals.received % 251) {
            totals.inOrder = false
        }
        totals.received += bytes.count
        if totals.received == total { client.close() }
    }
    // The client doesn't read until the server has had to pause.
    client.pauseReading()
    let ticker = Ticker()
    ticker.timer = try Timer(on: loop) {
        if totals.pauses > 0 {
            client.resumeReading()
        } else {
            ticker.timer?.arm(after: .milliseconds(1))
        }
    }
    ticker.timer?.arm(after: .milliseconds(1))
}
