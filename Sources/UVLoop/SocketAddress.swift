// Endpoint to sockaddr and back: the only file that knows how Linux lays out addresses (ip(7), ipv6(7)).
//
// On an IPv6 socket an IPv4 endpoint is written in its mapped form, which is how `Endpoint` stores it: one
// dual-stack socket on `::` serves both families. Link-local IPv6 needs a scope id, which `Endpoint` lacks:
// such peers can't be reached.

import Glibc
import Primitives

enum SocketAddress {
    static func family(of endpoint: Endpoint) -> Int32 { endpoint.isIPv4 ? AF_INET : AF_INET6 }

    /// Bytes of its sockaddr.
    static func length(of endpoint: Endpoint) -> socklen_t {
        socklen_t(
            endpoint.isIPv4 ? MemoryLayout<sockaddr_in>.size : MemoryLayout<sockaddr_in6>.size)
    }

    /// Writes `endpoint` for a socket of `family` to `raw`, which has room for a `sockaddr_in6` and is
    /// aligned to 4. Returns the address's length, or nil for an IPv6 endpoint on an IPv4 socket.
    static func store(_ endpoint: Endpoint, family: Int32, into raw: UnsafeMutableRawPointer) -> socklen_t? {
        raw.storeBytes(of: sa_family_t(family), as: sa_family_t.self)
        raw.storeBytes(of: endpoint.port.bigEndian, toByteOffset: 2, as: UInt16.self)
        if family == AF_INET {
            guard let address = endpoint.ipv4 else { return nil }
            raw.storeBytes(of: address.bigEndian, toByteOffset: 4, as: UInt32.self)
            raw.storeBytes(of: 0, toByteOffset: 8, as: UInt64.self)
            return socklen_t(MemoryLayout<sockaddr_in>.size)
        }
        raw.storeBytes(of: 0, toByteOffset: 4, as: UInt32.self)
        raw.storeBytes(of: endpoint.high.bigEndian, toByteOffset: 8, as: UInt64.self)
        raw.storeBytes(of: endpoint.low.bigEndian, toByteOffset: 16, as: UInt64.self)
        raw.storeBytes(of: 0, toByteOffset: 24, as: UInt32.self)
        return socklen_t(MemoryLayout<sockaddr_in6>.size)
    }

    /// Returns nil for an address of another family.
    static func load(_ address: UnsafePointer<sockaddr>) -> Endpoint? {
        let raw = UnsafeRawPointer(address)
        let port = UInt16(bigEndian: raw.loadUnaligned(fromByteOffset: 2, as: UInt16.self))
        switch Int32(address.pointee.sa_family) {
        case AF_INET:
            return Endpoint(
                ipv4: UInt32(bigEndian: raw.loadUnaligned(fromByteOffset: 4, as: UInt32.self)), port: port)
        case AF_INET6:
            return Endpoint(
                high: UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self)),
                low: UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: 16, as: UInt64.self)), port: port)
        default: return nil
        }
    }

    /// Calls `body` with `endpoint` as a sockaddr and returns its result. `family` defaults to the endpoint's
    /// own. Returns a negative errno for an endpoint that a socket of `family` can't reach.
    static func with(
        _ endpoint: Endpoint, family: Int32? = nil, _ body: (UnsafePointer<sockaddr>) -> Int32
    ) -> Int32 {
        var storage = sockaddr_storage()
        return withUnsafeMutableBytes(of: &storage) { raw in
            guard let base = raw.baseAddress,
                store(endpoint, family: family ?? self.family(of: endpoint), into: base) != nil
            else { return -EAFNOSUPPORT }
            return body(UnsafePointer(base.assumingMemoryBound(to: sockaddr.self)))
        }
    }

    /// Calls `read` (getsockname, getpeername) and converts the address.
    static func read(
        _ read: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<Int32>) -> Int32
    ) -> Result<Endpoint, SocketStatus> {
        var storage = sockaddr_storage()
        var length = Int32(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &storage) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                let status = read(address, &length)
                if status != 0 { return .failure(SocketStatus(code: status)) }
                guard let endpoint = load(address) else { return .failure(SocketStatus(code: -EAFNOSUPPORT)) }
                return .success(endpoint)
            }
        }
    }
}

/// A libuv status that has no operation or endpoint yet.
struct SocketStatus: Error { let code: Int32 }
