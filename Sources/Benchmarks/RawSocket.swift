import CLibuv
import Glibc
import Primitives

/// A connected UDP socket without a loop, for senders that must cost less than the node under load.
final class RawSocket {
    static let batchMax = 64

    let descriptor: Int32
    private let messages = UnsafeMutablePointer<cuv_message>.allocate(capacity: batchMax)
    private let vectors = UnsafeMutablePointer<iovec>.allocate(capacity: batchMax)

    /// Connects to `endpoint`, IPv4, from a free port of the loopback address.
    init(to endpoint: Endpoint) throws {
        descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        guard descriptor >= 0, let address = endpoint.ipv4 else { throw BenchmarkError("no IPv4 socket") }
        var bytes: Int32 = 4 << 20
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, 4)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &bytes, 4)
        var to = sockaddr_in()
        to.sin_family = sa_family_t(AF_INET)
        to.sin_port = endpoint.port.bigEndian
        to.sin_addr.s_addr = address.bigEndian
        let status = withUnsafeBytes(of: &to) { raw in
            raw.baseAddress.map {
                connect(
                    descriptor, $0.assumingMemoryBound(to: sockaddr.self),
                    socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard status == 0 else { throw BenchmarkError("can't connect to \(endpoint): errno \(errno)") }
        messages.initialize(repeating: cuv_message(), count: Self.batchMax)
        vectors.initialize(repeating: iovec(), count: Self.batchMax)
        for index in 0..<Self.batchMax {
            messages[index].header.msg_iov = vectors + index
            messages[index].header.msg_iovlen = 1
        }
    }

    deinit {
        close(descriptor)
        messages.deallocate()
        vectors.deallocate()
    }

    /// The port to which it is bound.
    var port: UInt16 {
        var own = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutableBytes(of: &own) { raw in
            if let base = raw.baseAddress {
                getsockname(descriptor, base.assumingMemoryBound(to: sockaddr.self), &size)
            }
        }
        return UInt16(bigEndian: own.sin_port)
    }

    /// Sends these ranges of `bytes`, at most `batchMax`, in one call. Returns how many the kernel took.
    func send(_ bytes: UnsafeRawBufferPointer, _ ranges: ArraySlice<Range<Int>>) -> Int {
        var count = 0
        for range in ranges.prefix(Self.batchMax) {
            vectors[count].iov_base = bytes.baseAddress.map {
                UnsafeMutableRawPointer(mutating: $0 + range.lowerBound)
            }
            vectors[count].iov_len = range.count
            count += 1
        }
        return Int(max(0, cuv_sendmmsg(descriptor, messages, UInt32(count), 0)))
    }

    /// Receives available datagrams into slots of `slot` bytes of `buffer`, and stores their lengths.
    func receive(_ buffer: UnsafeMutableRawBufferPointer, slot: Int, _ lengths: inout [Int]) {
        lengths.removeAll(keepingCapacity: true)
        let room = min(Self.batchMax, buffer.count / slot)
        for index in 0..<room {
            vectors[index].iov_base = buffer.baseAddress.map { $0 + index * slot }
            vectors[index].iov_len = slot
        }
        let count = cuv_recvmmsg(descriptor, messages, UInt32(room), Int32(MSG_DONTWAIT), nil)
        for index in 0..<max(0, Int(count)) { lengths.append(Int(messages[index].length)) }
    }

    /// Waits for data; returns false after `milliseconds`.
    func wait(_ milliseconds: Int32) -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, milliseconds) > 0
    }
}
