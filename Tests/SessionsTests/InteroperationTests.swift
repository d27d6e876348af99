import Cryptography
import Foundation
import Glibc
import Primitives
import Testing
import Wire

@testable import Sessions

/// Tests against an implementation that shares no code with ours: `Protocol/vectors/noise_peer.py`, whose
/// Noise is PyPI's `noiseprotocol`. First its vectors, then the program itself over UDP.
@Suite struct InteroperationTests {
    struct File: Decodable {
        var datagrams: [Datagrams]
        var channels: [Streams]
    }
    struct Datagrams: Decodable {
        var mesh: String
        var mesh_key: String
        var seeds: [String]
        var public_keys: [String]
        var agreement_keys: [String]
        var entropies: [String]
        var endpoints: [String]
        var packets: [String]
    }
    struct Streams: Decodable {
        var mesh: String
        var seeds: [String]
        var entropies: [String]
        var frame: String
        var dialler: [String]
        var acceptor: [String]
    }

    private func file() throws -> File {
        try JSONDecoder().decode(File.self, from: vectorFile("sessions.json"))
    }

    @Test func ourPacketsAreTheirsByteForByte() throws {
        for vector in try file().datagrams {
            let key = hex(vector.mesh_key)
            let mesh = MeshIdentity(name: vector.mesh, key: key.isEmpty ? nil : key)
            let net = Net(0)
            for index in 0..<2 {
                let endpoint = Endpoint(ipv4: 0x0a01_0001 + UInt32(index), port: 7827)
                #expect(endpoint.description == vector.endpoints[index])
                var node = Net.node(0, endpoint)
                node.identity = Identity(seed: hex32(vector.seeds[index]))
                node.sessions = Sessions(
                    identity: node.identity, mesh: mesh, entropy: hex32(vector.entropies[index]))
                #expect(text(node.identity.publicKey.value.bytes) == vector.public_keys[index])
                #expect(
                    text(node.identity.publicKey.agreementKey?.bytes ?? []) == vector.agreement_keys[index])
                net.nodes.append(node)
            }
            net.request(.discovery(.ping(contact: nil)), from: 0, to: 1)
            net.run()
            net.request(.discovery(.ping(contact: nil)), from: 0, to: 1, token: 2)
            net.run()
            #expect(net.log.map { text($0.bytes) } == vector.packets)
            #expect(net.nodes[0].completions.count == 2)
        }
    }

    @Test func ourChannelsAreTheirsByteForByte() throws {
        for vector in try file().channels {
            let mesh = MeshIdentity(name: vector.mesh)
            let net = Carriers()
            for index in 0..<2 {
                net.nodes[index].identity = Identity(seed: hex32(vector.seeds[index]))
                net.nodes[index].channels = Channels(
                    identity: net.nodes[index].identity, mesh: mesh, entropy: hex32(vector.entropies[index]))
            }
            let id = net.open(0, to: 1)
            let frame = try Frame(decoding: hex(vector.frame))
            _ = net.send(frame, 0, id)
            _ = net.send(frame, 1, try #require(net.opened(1).first).0)
            #expect(net.frames(0) == [frame] && net.frames(1) == [frame])
            let expected = [
                vector.dialler[0], vector.acceptor[0], vector.dialler[1], vector.dialler[2],
                vector.acceptor[1],
            ]
            #expect(net.wire.map { text($0) } == expected)
        }
    }

    static let offline = ProcessInfo.processInfo.environment["STARLING_OFFLINE"] != nil

    @Test(.disabled(if: offline, "STARLING_OFFLINE is set: PyPI's noiseprotocol may be missing"))
    func weAskAPythonPeer() throws {
        let (process, output) = try startPython(["listen"])
        defer { process.terminate() }
        let line = readLine(output).split(separator: " ")
        let (key, port) = (PublicKey(hex32(String(line[0]))), try #require(UInt16(line[1])))
        let peer = PeerAddress(key: key, endpoint: .loopback(port))
        let socket = try LoopbackSocket()
        var node = Net.node(1, .loopback(socket.port))
        node.request(.discovery(.ping(contact: nil)), to: peer, 1, moment(.zero))
        // The response; then a confirmation and an offer over the session.
        try socket.exchange(&node)
        #expect(node.out.completions.first?.answer == .discovery(.pong(contact: nil, observed: nil)))
        let holds = node.sessions.hasSession(to: peer)
        #expect(holds)
        node.request(.gossip(.offerMail([])), to: peer, 2, moment(.zero))
        try socket.exchange(&node)
        #expect(node.out.completions.map(\.owner) == [.peer(1), .peer(2)])
        #expect(node.out.completions.allSatisfy { $0.answer != nil })
        #expect(node.sessions.dropped.total == 0)
    }

    @Test(.disabled(if: offline, "STARLING_OFFLINE is set: PyPI's noiseprotocol may be missing"))
    func aPythonPeerAsksUs() throws {
        let socket = try LoopbackSocket()
        var node = Net.node(1, .loopback(socket.port))
        let (process, output) = try startPython([
            "dial", text(node.identity.publicKey.value.bytes), "\(socket.port)",
        ])
        defer { process.terminate() }
        // Its initiation, its confirmation, its ping.
        for _ in 0..<3 { try socket.exchange(&node) }
        #expect(readLine(output) == "ok")
        #expect(node.incoming.map(\.proven) == [false, true])
        #expect(node.out.established.count == 1)
        #expect(node.sessions.dropped.total == 0)
    }

    // MARK: Python

    /// scripts/setup's environment, or a small one of our own.
    private func python() throws -> URL {
        let candidates = [".cache/venv", ".cache/noise"].map { root.appendingPathComponent($0) }
        for folder in candidates {
            let package = folder.appendingPathComponent("lib")
            let versions = (try? FileManager.default.contentsOfDirectory(atPath: package.path)) ?? []
            for version in versions {
                let noise = package.appendingPathComponent("\(version)/site-packages/noise/connection.py")
                if FileManager.default.fileExists(atPath: noise.path) {
                    return folder.appendingPathComponent("bin/python")
                }
            }
        }
        try run("/usr/bin/env", ["python3", "-m", "venv", candidates[1].path])
        let python = candidates[1].appendingPathComponent("bin/python")
        try run(
            python.path,
            ["-m", "pip", "install", "-q", "--disable-pip-version-check", "noiseprotocol==0.3.1"])
        return python
    }

    private static let environment = NSLock()

    private func run(_ program: String, _ arguments: [String]) throws {
        let process = try Process.run(URL(fileURLWithPath: program), arguments: arguments)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0, "\(program) \(arguments)")
    }

    private func startPython(_ arguments: [String]) throws -> (Process, FileHandle) {
        Self.environment.lock()
        defer { Self.environment.unlock() }
        let python = try python()
        let process = Process()
        let pipe = Pipe()
        process.executableURL = python
        process.arguments = [root.appendingPathComponent("Protocol/vectors/noise_peer.py").path] + arguments
        process.standardOutput = pipe
        try process.run()
        return (process, pipe.fileHandleForReading)
    }

    private func readLine(_ handle: FileHandle) -> String {
        var text = ""
        while !text.hasSuffix("\n") {
            let data = handle.availableData
            if data.isEmpty { break }
            text += String(decoding: data, as: UTF8.self)
        }
        return text.trimmingCharacters(in: .whitespacesAndNewlines)
    }
}

/// A blocking UDP socket on 127.0.0.1: only what tests of two processes need.
final class LoopbackSocket {
    enum Failure: Error { case noSocket, nothingReceived }

    let port: UInt16
    private let descriptor: Int32

    init() throws {
        let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        guard descriptor >= 0 else { throw Failure.noSocket }
        self.descriptor = descriptor
        var patience = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        var address = Self.loopback(0)
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, size) | getsockname(descriptor, $0, &size)
            }
        }
        guard status == 0 else { throw Failure.noSocket }
        port = UInt16(bigEndian: address.sin_port)
    }

    deinit { close(descriptor) }

    private static func loopback(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return address
    }

    /// Sends what `node` has queued, waits for one datagram, passes it on, and sends again.
    func exchange(_ node: inout Net.Node) throws {
        flush(&node)
        var buffer = [UInt8](repeating: 0, count: 2_048)
        var address = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let count = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                recvfrom(descriptor, &buffer, buffer.count, 0, $0, &size)
            }
        }
        guard count > 0 else { throw Failure.nothingReceived }
        node.receive(
            Array(buffer.prefix(count)), from: .loopback(UInt16(bigEndian: address.sin_port)), moment(.zero))
        flush(&node)
    }

    private func flush(_ node: inout Net.Node) {
        for index in 0..<node.out.datagrams.count {
            node.out.datagrams.withDatagram(index) { bytes, endpoint in
                var address = Self.loopback(endpoint.port)
                _ = withUnsafePointer(to: &address) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        sendto(
                            descriptor, bytes.baseAddress, bytes.count, 0, $0,
                            socklen_t(MemoryLayout<sockaddr_in>.size))
                    }
                }
            }
        }
        node.out.datagrams.removeAll()
    }
}
