// Many datagrams in one system call: sendmmsg(2), which libuv 1.44 doesn't offer without a request for each.

import CLibuv
import Glibc
import Primitives

/// One datagram to send: which bytes of a slab, and to whom.
public struct DatagramSlot: Hashable, Sendable {
    public var offset: Int
    public var length: Int
    public var endpoint: Endpoint

    public init(offset: Int, length: Int, endpoint: Endpoint) {
        self.offset = offset
        self.length = length
        self.endpoint = endpoint
    }
}

/// The arrays that the kernel reads: messages, vectors, addresses. One for a socket, made once.
final class DatagramBatch {
    /// Datagrams in one call. More gains nothing: the call's fixed cost is shared by then.
    static let capacity = 128
    private static let addressStride = 32

    let messages: UnsafeMutablePointer<cuv_message>
    private let vectors: UnsafeMutablePointer<iovec>
    private let addresses: UnsafeMutableRawPointer
    private(set) var endpoints: [Endpoint] = []

    init() {
        messages = .allocate(capacity: DatagramBatch.capacity)
        messages.initialize(repeating: cuv_message(), count: DatagramBatch.capacity)
        vectors = .allocate(capacity: DatagramBatch.capacity)
        vectors.initialize(repeating: iovec(), count: DatagramBatch.capacity)
        addresses = .allocate(byteCount: DatagramBatch.capacity * DatagramBatch.addressStride, alignment: 16)
        for i in 0..<DatagramBatch.capacity {
            messages[i].header.msg_iov = vectors + i
            messages[i].header.msg_iovlen = 1
            messages[i].header.msg_name = addresses + i * DatagramBatch.addressStride
        }
    }

    deinit {
        messages.deallocate()
        vectors.deallocate()
        addresses.deallocate()
    }

    var count: Int { endpoints.count }
    var isFull: Bool { count == DatagramBatch.capacity }

    func removeAll() { endpoints.removeAll(keepingCapacity: true) }

    /// False when a socket of `family` can't send there. The bytes must stay where they are until sent.
    func append(_ bytes: UnsafeRawBufferPointer, to endpoint: Endpoint, family: Int32) -> Bool {
        let address = addresses + count * DatagramBatch.addressStride
        guard endpoint.port != 0, let length = SocketAddress.store(endpoint, family: family, into: address)
        else { return false }
        let index = count
        vectors[index].iov_base = UnsafeMutableRawPointer(mutating: bytes.baseAddress)
        vectors[index].iov_len = bytes.count
        messages[index].header.msg_namelen = length
        endpoints.append(endpoint)
        return true
    }

    func bytes(_ i: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: vectors[i].iov_base, count: vectors[i].iov_len)
    }
}
