import Glibc
import Primitives
import Sessions
import UVLoop

// The sockets of channels, and the one on which others' connections come in.
extension Node {
    private func accepted(_ socket: TCPConnection) {
        guard let id = peer.channelAccepted(from: socket.remote, now: SystemClock.now()) else {
            socket.abort()
            return flush()
        }
        attach(socket, id)
        flush()
    }

    func dial(_ id: ChannelID, _ endpoint: Endpoint, _ now: Now) {
        guard let socket = try? TCPConnection(on: loop, to: endpoint, timeout: .seconds(3)) else {
            return peer.channelNotDialled(id, now: now)
        }
        socket.onConnected = { [weak self] in
            self?.assumeIsolated {
                $0.peer.channelConnected(id, now: SystemClock.now())
                $0.flush()
            }
        }
        attach(socket, id)
    }

    private func attach(_ socket: TCPConnection, _ id: ChannelID) {
        socket.onBytes = { [weak self] bytes in
            nonisolated(unsafe) let bytes = bytes
            self?.assumeIsolated {
                $0.peer.channelReceived(id, bytes, now: SystemClock.now())
                $0.flush()
            }
        }
        socket.onWritable = { [weak self] in self?.assumeIsolated { $0.reportWritten(id) } }
        socket.onClosed = { [weak self] end in self?.assumeIsolated { $0.ended(id, end) } }
        connections[id] = Connection(socket: socket)
    }

    private func ended(_ id: ChannelID, _ end: TCPEnd) {
        guard connections.removeValue(forKey: id) != nil else { return closing -= 1 }
        if end.isOurShortage {
            peer.channelNotDialled(id, now: SystemClock.now())
        } else {
            peer.channelClosed(id, now: SystemClock.now())
        }
        flush()
    }

    /// The core has forgotten the channel. A long queue is dropped, because nobody counts it any more. And only few
    /// sockets may take their time to close: strangers can make channels end as fast as they open them.
    func close(_ id: ChannelID) {
        guard let socket = connections.removeValue(forKey: id)?.socket else { return }
        closing += 1
        let queued = socket.queuedBytes
        let isCrowded = closing > Self.closingMax && queued == 0
        if queued > Self.closingQueueMax || isCrowded { socket.abort() } else { socket.close() }
    }

    private static let closingMax = 64
    private static let closingQueueMax = 256 << 10

    func write(_ id: ChannelID, _ bytes: [UInt8]) {
        guard let socket = connections[id]?.socket else { return }
        connections[id]?.unreported += bytes.count
        _ = socket.write(bytes)
        reportWritten(id)
    }

    private func reportWritten(_ id: ChannelID) {
        guard let connection = connections[id] else { return }
        let done = connection.unreported - connection.socket.queuedBytes
        guard done > 0 else { return }
        connections[id]?.unreported -= done
        peer.channelWritten(id, bytes: done, now: SystemClock.now())
    }

    func listen(at port: UInt16) throws(SocketError) {
        var endpoint = settings.mesh.listen
        endpoint.port = port
        let listener = try TCPListener(on: loop, bind: endpoint) { [weak self] connection in
            nonisolated(unsafe) let connection = connection
            self?.assumeIsolated { $0.accepted(connection) }
        }
        listener.onExhausted = { [weak self] in self?.assumeIsolated { $0.listenLater(at: port) } }
        self.listener = listener
    }

    /// The file descriptors ran out. Connections end all the time, so a pause is enough.
    private func listenLater(at port: UInt16) {
        log.warning("no file descriptor was left for a connection: raise the limit of open files (ulimit -n)")
        listener = nil
        listenTimer = try? UVLoop.Timer(on: loop) { [weak self] in
            self?.assumeIsolated {
                $0.listenTimer?.close()
                $0.listenTimer = nil
                do { try $0.listen(at: port) } catch { $0.listenLater(at: port) }
            }
        }
        listenTimer?.arm(after: .milliseconds(200))
    }
}

extension TCPEnd {
    /// The connection failed for want of something of this machine's: descriptors, memory, ports or a network.
    fileprivate var isOurShortage: Bool {
        guard case .failed(let error) = self else { return false }
        return FileDescriptors.isExhaustion(error.code)
            || [EADDRNOTAVAIL, ENETDOWN, ENETUNREACH].contains(error.code)
    }
}
