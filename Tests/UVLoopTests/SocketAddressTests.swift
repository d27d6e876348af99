import Glibc
import Primitives
import Testing

@testable import UVLoop

@Suite struct SocketAddressTests {
    static let texts = [
        "127.0.0.1:7400", "0.0.0.0:0", "255.255.255.255:65535", "192.168.1.20:80", "[::1]:7400",
        "[2001:db8:1:2:3:4:5:6]:1", "[fe80::1]:65535",
    ]

    @Test(arguments: texts) func anEndpointComesBackFromItsSockaddr(_ text: String) throws {
        let endpoint = try #require(Endpoint(text))
        var back: Endpoint?
        let status = SocketAddress.with(endpoint) { address in
            back = SocketAddress.load(address)
            return 0
        }
        #expect(status == 0)
        #expect(back == endpoint)
    }

    @Test(arguments: texts) func theSockaddrIsWhatTheSystemWrites(_ text: String) throws {
        let endpoint = try #require(Endpoint(text))
        let status = SocketAddress.with(endpoint) { address in
            var host = [CChar](repeating: 0, count: 64)
            let length = socklen_t(
                endpoint.isIPv4 ? MemoryLayout<sockaddr_in>.size : MemoryLayout<sockaddr_in6>.size)
            let result = getnameinfo(address, length, &host, 64, nil, 0, NI_NUMERICHOST)
            let end = host.firstIndex(of: 0) ?? host.count
            #expect(
                String(decoding: host[..<end].map(UInt8.init(bitPattern:)), as: UTF8.self) == endpoint.host)
            return result
        }
        #expect(status == 0)
    }

    @Test func anIPv6SocketReachesIPv4InItsMappedFormAndNotTheOtherWayRound() throws {
        let status = SocketAddress.with(.loopback(9), family: AF_INET6) { address in
            #expect(Int32(address.pointee.sa_family) == AF_INET6)
            #expect(SocketAddress.load(address) == .loopback(9))
            return 0
        }
        #expect(status == 0)
        #expect(SocketAddress.with(anyPortIPv6, family: AF_INET) { _ in 0 } == -EAFNOSUPPORT)
    }

    @Test func errorsNameTheThingAndTheFix() throws {
        let taken = SocketError(code: EADDRINUSE, .udpBind, .loopback(7400))
        #expect(taken.description == "port 7400 is taken (EADDRINUSE: can't bind UDP 127.0.0.1:7400)")
        #expect(taken.name == "EADDRINUSE" && taken.reason == "address already in use")
        let odd = SocketError(code: 12_345, .tcpRead, nil)
        #expect(odd.description.contains("12345"))
    }
}
