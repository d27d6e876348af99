import Foundation

/// Four model servers in one thread of this process. They answer `detectModelServers`, which blocks its own
/// thread.
final class Servers: Sendable {
    static let shared = Servers()
    let urls: [String]

    private init() {
        let digest = String(repeating: "ab", count: 32)
        let scripts: [[String: String]] = [
            [
                "/api/version": #"{"version":"0.30.1"}"#,
                "/api/tags":
                    #"{"models":[{"name":"qwen3:8b","digest":"sha256:\#(digest)","details":{"quantization_level":"Q4_K_M"}},{"name":"llama3.2:3b"}]}"#,
                "/api/ps": #"{"models":[{"name":"qwen3:8b","context_length":8192}]}"#,
            ],
            [
                "/v1/models": #"{"data":[{"id":"wren-m","owned_by":"llamacpp","meta":{"n_ctx":512}}]}"#,
                "/props": #"{"total_slots":2}"#,
            ],
            ["/v1/models": #"{"data":[{"id":"meta-llama/X","owned_by":"vllm","max_model_len":32768}]}"#],
            ["/v1/models": #"{"data":[{"id":"lm","owned_by":"organization_owner"}]}"#],
        ]
        urls = scripts.map(Servers.serve)
    }

    static func serve(_ script: [String: String]) -> String {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                _ = bind(listener, generic, length)
                _ = getsockname(listener, generic, &length)
            }
        }
        listen(listener, 16)
        Thread.detachNewThread {
            while true {
                let client = accept(listener, nil, nil)
                guard client >= 0 else { return }
                let path = request(from: client).split(separator: " ").dropFirst().first ?? ""
                let body = script[String(path)]
                let text =
                    "HTTP/1.1 \(body == nil ? 404 : 200) X\r\nConnection: close\r\n"
                    + "Content-Length: \(body?.utf8.count ?? 0)\r\n\r\n" + (body ?? "")
                _ = Array(text.utf8).withUnsafeBytes { write(client, $0.baseAddress, $0.count) }
                close(client)
            }
        }
        return "http://127.0.0.1:\(UInt16(bigEndian: address.sin_port))"
    }

    /// A whole request: clients send its head and its body apart.
    private static func request(from client: Int32) -> String {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 8_192)
        while true {
            let text = String(decoding: bytes, as: UTF8.self)
            if let end = text.firstRange(of: "\r\n\r\n") {
                let length = text[..<end.lowerBound].split(separator: "\r\n").compactMap { line -> Int? in
                    guard line.lowercased().hasPrefix("content-length:") else { return nil }
                    return Int(line.split(separator: " ").last ?? "")
                }.first
                if bytes.count >= text[..<end.upperBound].utf8.count + (length ?? 0) { return text }
            }
            let count = read(client, &buffer, buffer.count)
            guard count > 0 else { return text }
            bytes += buffer[..<count]
        }
    }
}
