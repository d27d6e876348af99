import Foundation
import Testing

@testable import Inference

/// A model server with a certificate that it signed itself, as gateways on a home network have.
@Suite struct CertificateTests {
    private static let server = """
        import http.server, ssl, sys
        class Models(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                found = self.path == "/v1/models"
                body = b'{"data":[{"id":"m"}]}' if found else b"{}"
                self.send_response(200 if found else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            def log_message(self, *words): pass
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Models)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1], sys.argv[2])
        server.socket = context.wrap_socket(server.socket, server_side=True)
        print(server.server_port, flush=True)
        server.serve_forever()
        """

    /// Starts a program of the PATH. Its output is at the pipe.
    private func start(_ program: String, _ arguments: [String]) throws -> (Process, Pipe) {
        let (process, output) = (Process(), Pipe())
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = [program] + arguments
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        return (process, output)
    }

    /// The files of a new certificate for 127.0.0.1, and of its key.
    private func certificate(_ name: String, in folder: URL) throws -> (certificate: String, key: String) {
        let files = (folder.appending(path: "\(name).pem").path, folder.appending(path: "\(name).key").path)
        let (process, _) = try start(
            "openssl",
            [
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=\(name)",
                "-addext", "subjectAltName=IP:127.0.0.1", "-out", files.0, "-keyout", files.1,
            ])
        process.waitUntilExit()
        try #require(process.terminationStatus == 0)
        return files
    }

    @Test func aSelfSignedServerIsTakenWithItsCertificateAndElseRefusedByTheKeyThatNamesIt() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "starling-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let (own, key) = try certificate("own", in: folder)
        let (other, _) = try certificate("other", in: folder)
        let (server, output) = try start("python3", ["-c", Self.server, own, key])
        defer {
            // A mask of signals that it inherits may hold back any other.
            kill(server.processIdentifier, SIGKILL)
            server.waitUntilExit()
        }
        let port = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
            .trimmingCharacters(in: .whitespacesAndNewlines)
        let url = "https://127.0.0.1:\(port)"
        let trusted = detectModelServers(at: [url], certificates: own, timeout: .seconds(5))
        #expect(trusted.map(\.models) == [[ModelDescription(name: "m")]])
        for file in [nil, other, folder.appending(path: "none.pem").path] {
            let found = detectModelServers(at: [url], certificates: file, timeout: .seconds(5))
            #expect(found.count == 1 && found.first?.models.isEmpty == true)
            #expect(found.first?.problem?.message.contains("set ca_file to the certificate") == true)
        }
    }
}
