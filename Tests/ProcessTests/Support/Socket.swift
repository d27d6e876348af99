import Foundation
import Testing

/// A plain socket on the loopback address, for what no proper client would do.
struct Socket {
    let descriptor: Int32

    private init(_ kind: __socket_type) throws {
        descriptor = socket(AF_INET, Int32(kind.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        try #require(descriptor >= 0)
        var wait = timeval(tv_sec: 20, tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(descriptor, SOL_SOCKET, option, &wait, socklen_t(MemoryLayout<timeval>.size))
        }
    }

    private static func address<T>(_ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> T) -> T {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    static func connected(to port: UInt16) throws -> Socket {
        let made = try Socket(SOCK_STREAM)
        guard address(port, { connect(made.descriptor, $0, $1) }) == 0 else {
            made.close()
            throw NobodyListens(port: port)
        }
        return made
    }

    struct NobodyListens: Error { var port: UInt16 }

    static func datagrams() throws -> Socket { try Socket(SOCK_DGRAM) }

    /// A socket that occupies a port, so that no other program can take it.
    static func holding() throws -> (Socket, UInt16) {
        let made = try Socket(SOCK_STREAM)
        try #require(address(0) { bind(made.descriptor, $0, $1) } == 0 && listen(made.descriptor, 1) == 0)
        return (made, made.port)
    }

    static func holding(datagramsAt port: UInt16) throws -> Socket {
        let made = try datagrams()
        try #require(address(port) { bind(made.descriptor, $0, $1) } == 0)
        return made
    }

    var port: UInt16 {
        var address = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) }
        }
        return UInt16(bigEndian: address.sin_port)
    }

    /// Sends one datagram; the kernel may drop it.
    func send(_ bytes: [UInt8], to port: UInt16) {
        _ = Self.address(port) { sendto(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL), $0, $1) }
    }

    /// Writes all bytes; returns false when the other side has closed.
    func write(_ bytes: [UInt8]) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return false }
            sent += count
        }
        return true
    }

    func write(_ text: String) -> Bool { write(Array(text.utf8)) }

    /// Reads until `text` arrives or the other side closes; returns everything received.
    func read(until text: String = "\u{0}") -> String {
        var all = ""
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while !all.contains(text) {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            all += String(decoding: buffer[..<count], as: UTF8.self)
        }
        return all
    }

    func close() { Glibc.close(descriptor) }
}

/// An HTTP request as bytes.
func httpRequest(
    _ method: String = "POST", _ path: String = "/v1/chat/completions", _ body: String = "",
    headers: [String] = []
) -> String {
    let own = headers.contains { $0.lowercased().hasPrefix("host:") } ? [] : ["Host: 127.0.0.1"]
    let length =
        headers.contains { $0.lowercased().hasPrefix("transfer-encoding") }
        ? [] : ["Content-Length: \(body.utf8.count)"]
    return (["\(method) \(path) HTTP/1.1"] + own + length + headers).joined(separator: "\r\n") + "\r\n\r\n"
        + body
}

/// A field of /proc/PID/status in kilobytes; `VmHWM` is the peak.
func memory(_ pid: Int32, _ field: String = "VmRSS") -> Int {
    let text = (try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)) ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix(field + ":") }
    return line.flatMap {
        $0.split(separator: " ").dropLast().last.flatMap { Int($0.split(separator: "\t").last ?? "") }
    } ?? 0
}

/// Whether the process is alive.
func lives(_ pid: Int32) -> Bool {
    guard pid > 0, let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8) else {
        return false
    }
    return !text.contains(") Z ")
}

/// Live processes whose command line holds `text`.
func processes(with text: String) -> [Int32] {
    ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { Int32($0) }.filter {
        pid in
        guard lives(pid), let words = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else {
            return false
        }
        return String(decoding: words, as: UTF8.self).replacing("\0", with: " ").contains(text)
    }
}
