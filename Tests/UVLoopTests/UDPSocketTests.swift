import CLibuv
import Glibc
import Primitives
import Testing

@testable import UVLoop

@Suite(.timeLimit(.minutes(1))) struct UDPSocketTests {
    /// Sends `total` datagrams, a window at a time, to a socket that echoes batches, and checks the replies.
    private func echo(_ bound: Endpoint, total: Int) async throws {
        try await withLoop { owner in
            let done = Promise<EchoResult>()
            try await owner.run { owner in
                let server = try owner.startEcho(bound)
                try startClient(of: server.endpoint, on: owner.loop, total: total, done)
            }
            let result = await done.value()
            #expect(result.answered == total && result.counters.sent == total)
            #expect(await owner.counted < total, "a batch holds more than one datagram")
        }
    }

    @Test func thousandsOfDatagramsGoOutAndComeBackInBatches() async throws {
        try await echo(anyPort, total: 20_000)
    }

    @Test(.enabled(if: hasIPv6())) func theSameOverIPv6() async throws {
        try await echo(anyPortIPv6, total: 2_000)
    }

    @Test(.enabled(if: hasIPv6())) func aDualStackSocketTalksToAnIPv4OneAndShowsItsEndpointAsIPv4()
        async throws
    {
        try await withLoop { owner in
            let seen = Promise<Endpoint>()
            let expected = try await owner.run { owner in
                let dual = try UDPSocket(on: owner.loop, bind: Endpoint(high: 0, low: 0, port: 0))
                let plain = try UDPSocket(on: owner.loop, bind: anyPort)
                dual.onDatagram = { bytes, source in
                    #expect(bytes.elementsEqual([1, 2, 3]))
                    dual.send([4], to: source)
                }
                plain.onDatagram = { _, source in seen.keep(source) }
                plain.send([1, 2, 3], to: .loopback(dual.endpoint.port))
                return Endpoint.loopback(dual.endpoint.port)
            }
            #expect(await seen.value() == expected)
        }
    }

    @Test func aTakenPortIsAnErrorThatSaysSo() async throws {
        try await withLoop { owner in
            await owner.run { owner in
                do {
                    let first = try UDPSocket(on: owner.loop, bind: anyPort)
                    let error = #expect(throws: SocketError.self) {
                        _ = try UDPSocket(on: owner.loop, bind: first.endpoint)
                    }
                    #expect(error?.code == EADDRINUSE)
                    #expect(error?.description.hasPrefix("port \(first.endpoint.port) is taken") == true)
                } catch { Issue.record(error) }
            }
        }
    }

    @Test func emptyDatagramsArriveAndTooLongOnesAreCut() async throws {
        try await withLoop { owner in
            let sizes = Promise<Int>()
            try await owner.run { owner in
                let socket = try UDPSocket(on: owner.loop, bind: anyPort)
                socket.onDatagram = { bytes, _ in sizes.keep(bytes.count) }
                socket.send([], to: socket.endpoint)
                socket.send([UInt8](repeating: 7, count: 1_200), to: socket.endpoint)
                socket.send([UInt8](repeating: 7, count: 65_507), to: socket.endpoint)
            }
            #expect(await sizes.value() == 0)
            #expect(await sizes.value() == 1_200)
            #expect(await sizes.value() == UDPSocket.datagramBytesMax)
        }
    }

    @Test func whatCannotLeaveIsCountedAndTheRestOfTheBatchLeaves() async throws {
        try await withLoop { owner in
            let arrived = Promise<[UInt8]>()
            try await owner.run { owner in
                let socket = try UDPSocket(on: owner.loop, bind: anyPort)
                socket.onDatagram = { bytes, _ in arrived.keep(Array(bytes)) }
                let slab = [UInt8](repeating: 5, count: 70_000)
                let slots = [
                    DatagramSlot(offset: 0, length: 2, endpoint: anyPortIPv6),
                    DatagramSlot(offset: 0, length: 2, endpoint: Endpoint(high: 0, low: 1, port: 9)),
                    DatagramSlot(offset: 69_999, length: 2, endpoint: socket.endpoint),
                    DatagramSlot(offset: .max, length: 1, endpoint: socket.endpoint),
                    DatagramSlot(offset: 0, length: -1, endpoint: socket.endpoint),
                    DatagramSlot(offset: 0, length: 70_000, endpoint: socket.endpoint),
                    DatagramSlot(offset: 0, length: 3, endpoint: socket.endpoint),
                ]
                slab.withUnsafeBytes { socket.send($0, slots) }
                #expect(socket.counters.unroutable == 5)
                #expect(socket.counters.sendErrors == 1)
                #expect(socket.counters.sent == 1)
            }
            #expect(await arrived.value() == [5, 5, 5])
        }
    }

    @Test func aPortWhereNobodyListensIsNotFatal() async throws {
        try await withLoop { owner in
            let arrived = Promise<Int>()
            try await owner.run { owner in
                let gone = try UDPSocket(on: owner.loop, bind: anyPort)
                gone.close()
                let socket = try UDPSocket(on: owner.loop, bind: anyPort)
                socket.onDatagram = { bytes, _ in arrived.keep(bytes.count) }
                for _ in 0..<50 { socket.send([1], to: Endpoint.loopback(1)) }
                socket.send([1, 2], to: socket.endpoint)
            }
            #expect(await arrived.value() == 2)
        }
    }

    @Test func whenTheKernelIsFullDatagramsWaitInOrderAndTheOldestGiveWay() async throws {
        try await withLoop { owner in
            let left = Promise<[UInt32]>()
            let extra = 10
            let total = UDPSocket.waitingMax + extra
            let overflowed = try await owner.run { owner in
                let socket = try UDPSocket(on: owner.loop, bind: anyPort)
                var refusals = 2
                var numbers: [UInt32] = []
                // A kernel whose buffer is full twice, then accepts part of a batch, then everything.
                socket.kernelSend = { _, messages, count in
                    if refusals > 0 {
                        refusals -= 1
                        return -EAGAIN
                    }
                    let taken = numbers.isEmpty ? 5 : count
                    for i in 0..<Int(taken) {
                        guard let base = messages[i].header.msg_iov.pointee.iov_base else { return -EFAULT }
                        numbers.append(base.loadUnaligned(as: UInt32.self))
                    }
                    if numbers.last == UInt32(total - 1) { left.keep(numbers) }
                    return Int32(taken)
                }
                // All wait until there is room; ten are over the limit.
                for i in 0..<total {
                    socket.send(withUnsafeBytes(of: UInt32(i)) { Array($0) }, to: socket.endpoint)
                }
                return socket.counters.overflowed
            }
            #expect(overflowed == extra)
            let numbers = await left.value()
            #expect(numbers == Array(UInt32(extra)..<UInt32(total)))
        }
    }

    @Test func closingInTheMiddleOfABatchEndsIt() async throws {
        try await withLoop { owner in
            let received = Promise<Int>()
            try await owner.run { owner in
                let socket = try UDPSocket(on: owner.loop, bind: anyPort)
                var count = 0
                socket.onDatagram = { _, _ in
                    count += 1
                    if count == 3 {
                        socket.close()
                        socket.send([1], to: .loopback(9))
                        received.keep(socket.counters.received)
                    }
                }
                socket.onBatchEnd = { #expect(socket.isOpen) }
                for _ in 0..<10 { socket.send([1], to: socket.endpoint) }
            }
            #expect(await received.value() == 3)
        }
    }

    @Test func sendingWhileTheLoopStopsIsSafe() async throws {
        let loop = try EventLoop()
        loop.start()
        let owner = Owner(loop)
        let started = Promise<Bool>()
        try await owner.run { owner in
            let socket = try UDPSocket(on: owner.loop, bind: anyPort)
            socket.onDatagram = { bytes, source in
                started.keep(true)
                socket.send(Array(bytes), to: source)
            }
            for _ in 0..<100 { socket.send([1], to: socket.endpoint) }
        }
        _ = await started.value()
        loop.stop()
    }
}

struct EchoResult: Sendable {
    var answered = 0
    var counters = UDPSocket.Counters()
}

extension Owner {
    /// As in `Node`: closures formed in the actor are isolated to it, so they reach its state directly.
    func startEcho(_ bound: Endpoint) throws -> UDPSocket {
        let server = try UDPSocket(on: loop, bind: bound)
        server.onDatagram = { bytes, source in
            self.slots.append(DatagramSlot(offset: self.slab.count, length: bytes.count, endpoint: source))
            self.slab.append(contentsOf: bytes)
        }
        server.onBatchEnd = {
            self.count()
            self.slab.withUnsafeBytes { server.send($0, self.slots) }
            self.slab.removeAll(keepingCapacity: true)
            self.slots.removeAll(keepingCapacity: true)
        }
        return server
    }
}

/// Keeps a window of numbered datagrams in flight, and counts those that come back complete and in order.
private func startClient(
    of server: Endpoint, on loop: EventLoop, total: Int, _ done: Promise<EchoResult>
) throws {
    func length(_ number: Int) -> Int { 4 + number % 1_196 }
    let client = try UDPSocket(on: loop, bind: Endpoint(high: server.high, low: server.low, port: 0))
    var next = 0
    func sendMore(_ count: Int) {
        var slab: [UInt8] = []
        var slots: [DatagramSlot] = []
        while slots.count < count && next < total {
            slots.append(DatagramSlot(offset: slab.count, length: length(next), endpoint: server))
            withUnsafeBytes(of: UInt32(next)) { slab.append(contentsOf: $0) }
            slab.append(contentsOf: repeatElement(UInt8(truncatingIfNeeded: next), count: length(next) - 4))
            next += 1
        }
        slab.withUnsafeBytes { client.send($0, slots) }
    }
    var result = EchoResult()
    var fresh = 0
    client.onDatagram = { bytes, source in
        fresh += 1
        let number = Int(bytes.loadUnaligned(as: UInt32.self))
        let fill = bytes.count == 4 || bytes[bytes.count - 1] == UInt8(truncatingIfNeeded: number)
        if source == server && fill && number == result.answered && bytes.count == length(number) {
            result.answered += 1
        }
    }
    client.onBatchEnd = {
        sendMore(fresh)
        fresh = 0
        if result.answered == total {
            result.counters = client.counters
            done.keep(result)
        }
    }
    // Fits the receive buffer that a stock kernel allows (208 KiB), overhead included.
    sendMore(64)
}

/// Whether this machine has an IPv6 loopback.
func hasIPv6() -> Bool {
    let descriptor = socket(AF_INET6, Int32(SOCK_DGRAM.rawValue), 0)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    return SocketAddress.with(anyPortIPv6) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in6>.size))
    } == 0
}
