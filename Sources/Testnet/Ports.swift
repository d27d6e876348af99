import FoundationEssentials
import Glibc

/// Free ports on the loopback address.
enum Ports {
    static func isFree(_ port: UInt16) -> Bool {
        bound(port, SOCK_DGRAM) != nil && bound(port, SOCK_STREAM) != nil
    }

    /// The first ports of `count` free adjacent pairs.
    static func freePairs(_ count: Int) -> [Int] {
        var pairs: [Int] = []
        var port = 20_000 + Int(getpid()) % 10_000 / 2 * 2
        while pairs.count < count, port < 60_000 {
            if isFree(UInt16(port)), isFree(UInt16(port + 1)) { pairs.append(port) }
            port += 2
        }
        return pairs
    }

    private static func bound(_ port: UInt16, _ kind: __socket_type) -> UInt16? {
        let descriptor = socket(AF_INET, Int32(kind.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var one: Int32 = 1
        if kind == SOCK_STREAM {
            setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let code = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        return code == 0 ? port : nil
    }
}
