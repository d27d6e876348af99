// One client's connection: reads one request after the other, has each answered by one Swift task, and writes the
// answers in order. All of it runs on the connection's thread, the requests' tasks included.
//
// What comes while a request is answered stays in the socket, or in `inputs`, until the answer has been written.
//
// The end of the client's sending half alone doesn't say whether the client has gone: the FIN of `close` and that of
// `shutdown(SHUT_WR)`, after which `nc -N` and some proxies wait for their answer, are the same. Only the answer to
// something that we send tells them apart: a reset, or nothing. So such a client is sent what means nothing: before
// the answer's head, `100 Continue`, which every client of HTTP/1.1 skips (RFC 9110 §15.2); in an event stream, a
// comment. A client of HTTP/1.0 can be sent neither: its task is cancelled.

import NIOCore
import NIOHTTP1

final class HTTPConnection: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private enum Input {
        case part(HTTPServerRequestPart)
        case malformed(HTTPParserError)
    }

    private enum Phase {
        /// No request's head has arrived.
        case idle
        /// A request's body arrives.
        case receiving
        /// The request is complete, and its answer isn't.
        case answering
        /// The request was answered before the end of its body, which is dropped.
        case discarding
        /// Nothing more is read or answered.
        case closing
    }

    /// What the current request's client has been sent.
    private enum Sent { case nothing, headOfStream, all }

    /// A connection on which nothing of a request arrives is closed after this time.
    private static let idleTime = TimeAmount.seconds(75)
    /// A body may take `GatewayConfiguration.bodyTime`, and a second more for as many bytes as these that have arrived:
    /// 16 MiB need not be sent faster than over a line of 0.5 Mbit/s.
    static let bodyRate = 64 << 10
    /// For a client to read its last answer: what it sends after the socket is closed resets the connection. The longer
    /// time is for one that is known to be sending.
    private static let lingerTimes = (short: TimeAmount.milliseconds(200), long: TimeAmount.seconds(5))
    /// A client that has ended its half is asked for a sign of life this often.
    private static let probeInterval = TimeAmount.seconds(5)

    private let responder: GatewayResponder
    private let id: ConnectionTable.ID
    private let executor: LoopExecutor
    private let bodyTime: TimeAmount
    private var context: ChannelHandlerContext?
    private var inputs = CircularBuffer<Input>()
    private var phase = Phase.idle { didSet { updateTurn() } }
    private var hasInputEnded = false
    private var hasOutputEnded = false
    private var isLeaving = false
    private var isReadWanted = false
    /// Answers that the socket has not taken yet.
    private var unsent = 0
    private var deadline: NIODeadline?
    private var timer: (at: NIODeadline, scheduled: Scheduled<Void>)?

    // Of the current request.
    private var request: Request?
    private var body: HeldBody
    private var bodyBegan: NIODeadline?
    private var sent = Sent.nothing
    private var closesAfter = false
    private var lingers = false
    private var task: Task<Void, Never>?
    /// The request's task, while it waits for the client to read.
    private var writer: CheckedContinuation<Void, Never>?

    init(_ responder: GatewayResponder, id: ConnectionTable.ID, executor: LoopExecutor) {
        self.responder = responder
        self.id = id
        self.executor = executor
        body = HeldBody(of: responder.bodies)
        bodyTime = .nanoseconds(responder.configuration.bodyTime.nanoseconds)
    }

    // MARK: Events of the channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        wait(Self.idleTime)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.scheduled.cancel()
        responder.connections.close(id)
        self.context = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        startClosing(lingers: false)
        task?.cancel()
        resumeWriter()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        inputs.append(.part(unwrapInboundIn(data)))
        advance()
    }

    func channelReadComplete(context: ChannelHandlerContext) { settle() }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // After any other error the channel closes.
        guard let error = error as? HTTPParserError else { return }
        inputs.append(.malformed(error))
        advance()
        settle()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        updateTurn()
        guard context.channel.isWritable else { return }
        resumeWriter()
        advance()
        settle()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event as? ChannelEvent == .inputClosed {
            hasInputEnded = true
            if phase == .answering { probe() }
            settle()
        } else if event is ChannelShouldQuiesceEvent {
            isLeaving = true
            settle()
        }
    }

    func read(context: ChannelHandlerContext) {
        isReadWanted = true
        readOn()
    }

    // MARK: Requests

    private func advance() {
        while let context, phase != .answering, phase != .idle || context.channel.isWritable,
            let input = inputs.popFirst()
        {
            switch (phase, input) {
            case (.idle, .part(.head(let head))): begin(head, context)
            case (.receiving, .part(.body(let part))): receive(part)
            case (.receiving, .part(.end)): startTask(context)
            case (.discarding, .part(.body(let part))): body.count += part.readableBytes
            case (.discarding, .part(.end)): endRequest()
            case (.discarding, .malformed): startClosing(lingers: true)
            case (.idle, .malformed(let error)), (.receiving, .malformed(let error)):
                lingers = true
                send(responder.response(to: error))
            // The decoder brings no other order.
            case (.closing, _), (.idle, .part), (.receiving, .part), (.discarding, .part), (.answering, _):
                break
            }
        }
    }

    private func begin(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        let request = Request(head, channel: context.channel)
        self.request = request
        (sent, deadline, bodyBegan) = (.nothing, nil, nil)
        // What follows a request for another protocol is not decoded.
        closesAfter = !head.isKeepAlive || head.method == .CONNECT || head.headers.contains(name: "upgrade")
        phase = .receiving
        let waitsToSend = request.isHTTP11 && request["expect"]?.lowercased() == "100-continue"
        if let refusal = responder.refusal(of: request) {
            // A client that is refused instead of told to continue may send its body or not: what comes next is unclear.
            lingers = waitsToSend
            send(refusal)
        } else if waitsToSend {
            sendContinue()
        }
    }

    private func receive(_ part: ByteBuffer) {
        let refusal = body.append(
            part, announced: request?.contentLength ?? 0, max: responder.configuration.bodyBytesMax,
            isKept: request?.route?.takesBody ?? false)
        if let refusal { send(responder.response(to: refusal)) }
    }

    private func startTask(_ context: ChannelHandlerContext) {
        guard var request else { return }
        request.body = ReceivedBody(body)
        body = HeldBody(of: responder.bodies)
        phase = .answering
        deadline = nil
        let (responder, connection) = (responder, NIOLoopBound(self, eventLoop: context.eventLoop))
        task = Task(executorPreference: executor) { [request] in
            let response = await responder.response(to: request)
            connection.value.send(response)
            guard case .stream(let write) = response.body else { return connection.value.goOn() }
            do {
                try await write(ResponseWriter(connection: connection))
                connection.value.endAnswer()
                connection.value.goOn()
            } catch {
                // So the client sees that the answer isn't complete.
                connection.value.context?.close(promise: nil)
            }
        }
        if hasInputEnded { probe() }
    }

    private func goOn() {
        advance()
        settle()
    }

    /// The current request has been read and answered.
    private func endRequest() {
        (request, task, deadline) = (nil, nil, nil)
        if closesAfter { return startClosing(lingers: false) }
        phase = .idle
        wait(Self.idleTime)
    }

    // MARK: Answers

    /// Writes the head of the answer to the current request, and all of it unless it is a stream.
    private func send(_ response: Response) {
        guard let context else { return }
        let response = responder.completed(response, request)
        let version = request?.head.version ?? .http1_1
        var head = HTTPResponseHead(version: version, status: response.status, headers: response.headers)
        head.headers.add(name: "date", value: HTTPDate.now)
        closesAfter = closesAfter || lingers || isLeaving || (hasInputEnded && inputs.isEmpty)
        var body: [UInt8] = []
        switch response.body {
        case .whole(let bytes):
            if response.status != .noContent {
                head.headers.add(name: "content-length", value: String(bytes.count))
            }
            if request?.head.method != .HEAD { body = bytes }
        case .stream:
            // Without chunks only the end of the connection ends the answer.
            if version.minor == 0 { closesAfter = true }
        }
        if closesAfter {
            head.headers.add(name: "connection", value: "close")
        } else if version.minor == 0 {
            head.headers.add(name: "connection", value: "keep-alive")
        }
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        sent = .headOfStream
        if case .stream = response.body { return }
        if !body.isEmpty { write(body) }
        endAnswer()
    }

    fileprivate func write(_ bytes: [UInt8]) {
        context?.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: bytes)))), promise: nil)
    }

    /// Returns when the client's socket takes more, mostly at once. Throws when the client has gone.
    fileprivate func flush() async throws {
        guard let context, context.channel.isActive else { throw CancellationError() }
        context.flush()
        if context.channel.isActive, !context.channel.isWritable {
            await withCheckedContinuation { writer = $0 }
        }
        try Task.checkCancellation()
    }

    private func resumeWriter() {
        writer?.resume()
        writer = nil
    }

    private func endAnswer() {
        guard let context else { return }
        let promise = context.eventLoop.makePromise(of: Void.self)
        unsent += 1
        promise.futureResult.assumeIsolated().whenComplete { _ in
            self.unsent -= 1
            self.settle()
        }
        context.write(wrapOutboundOut(.end(nil)), promise: promise)
        sent = .all
        switch phase {
        case .answering: endRequest()
        case .idle, .receiving:
            body = HeldBody(of: responder.bodies, count: body.count)
            if lingers { startClosing(lingers: true) } else { phase = .discarding }
        case .discarding, .closing: break
        }
        // Last, as it may report that the socket takes more.
        context.flush()
    }

    private func sendContinue() {
        let head = HTTPResponseHead(version: .http1_1, status: .continue)
        context?.writeAndFlush(wrapOutboundOut(.head(head)), promise: nil)
    }

    /// Sends what a client skips, and a connection that is closed resets.
    private func probe() {
        guard let request, request.route?.takesTask ?? false else { return }
        switch sent {
        case .nothing where request.isHTTP11: sendContinue()
        case .nothing: task?.cancel()
        case .headOfStream:
            write(Array(":\n\n".utf8))
            context?.flush()
        case .all: break
        }
        wait(Self.probeInterval)
    }

    // MARK: What follows from the state

    /// The client waits for the node only for the answer to a complete request, and while it reads that.
    private func updateTurn() {
        responder.connections.set(
            id, waits: !(phase == .answering && context?.channel.isWritable ?? false))
    }

    private func readOn() {
        guard let context, isReadWanted, inputs.isEmpty, phase != .answering,
            phase != .idle || context.channel.isWritable
        else { return }
        isReadWanted = false
        context.read()
    }

    private func startClosing(lingers: Bool) {
        self.lingers = lingers || !inputs.isEmpty
        inputs.removeAll()
        phase = .closing
    }

    private func settle() {
        guard let context, context.channel.isActive else { return }
        switch phase {
        case .idle where isLeaving && unsent == 0: return context.close(promise: nil)
        case .idle where isLeaving || (hasInputEnded && inputs.isEmpty): startClosing(lingers: false)
        case .receiving where hasInputEnded, .discarding where hasInputEnded: startClosing(lingers: false)
        case .receiving, .discarding:
            // A request that arrives whole needs no timer.
            if bodyBegan == nil {
                bodyBegan = .now()
                wait(bodyTime)
            }
        case .idle, .answering, .closing: break
        }
        if phase == .closing, unsent == 0 {
            if hasInputEnded { return context.close(promise: nil) }
            if !hasOutputEnded {
                hasOutputEnded = true
                context.close(mode: .output, promise: nil)
                wait(lingers ? Self.lingerTimes.long : Self.lingerTimes.short)
            }
        }
        readOn()
    }

    // MARK: Time

    /// Calls `timeIsUp` after this time, unless the deadline is moved before. The timer itself is left alone as long as
    /// it is early enough: most requests set none.
    private func wait(_ time: TimeAmount) {
        deadline = .now() + time
        arm()
    }

    private func arm() {
        guard let context, let deadline else { return }
        if let timer {
            guard deadline < timer.at else { return }
            timer.scheduled.cancel()
        }
        let scheduled = context.eventLoop.assumeIsolated().scheduleTask(deadline: deadline) {
            self.timer = nil
            guard let deadline = self.deadline, deadline <= .now() else { return self.arm() }
            self.timeIsUp()
        }
        timer = (deadline, scheduled)
    }

    private func timeIsUp() {
        deadline = nil
        switch phase {
        // The client still reads, however slowly.
        case .idle where unsent > 0, .closing where unsent > 0: wait(Self.idleTime)
        case .idle, .closing: context?.close(promise: nil)
        case .answering: if hasInputEnded { probe() }
        case .receiving, .discarding:
            guard let bodyBegan else { return }
            let left = bodyBegan + bodyTime + .seconds(Int64(body.count / Self.bodyRate)) - .now()
            if left > .zero {
                wait(left)
            } else if phase == .receiving {
                lingers = true
                send(responder.response(to: .overdue))
            } else {
                startClosing(lingers: true)
            }
        }
        settle()
    }
}

/// Writes the events of a streamed answer: to a client, or to where several read it.
struct ResponseWriter: Sendable {
    private enum Target {
        case connection(NIOLoopBound<HTTPConnection>)
        case replay(Replay, Replays.Key, Replays)
    }
    private let target: Target

    fileprivate init(connection: NIOLoopBound<HTTPConnection>) { target = .connection(connection) }
    init(replay: Replay, key: Replays.Key, of replays: Replays) { target = .replay(replay, key, replays) }

    /// Sends the bytes, and returns when the client's socket takes more. The end of the answer is sent with the last ones.
    /// Throws when the client has gone.
    func write(_ bytes: [UInt8], isLast: Bool = false) async throws {
        switch target {
        case .connection(let connection):
            connection.value.write(bytes)
            if !isLast { try await connection.value.flush() }
        case .replay(let replay, let key, let replays):
            try await replay.write(bytes, isKept: replays.grow(key, by: bytes.count))
        }
    }
}

/// Runs Swift tasks on an event loop's thread.
final class LoopExecutor: TaskExecutor {
    private let loop: any EventLoop

    init(_ loop: any EventLoop) { self.loop = loop }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        loop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
