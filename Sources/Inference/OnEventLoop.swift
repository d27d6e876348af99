import OpenAIFormat
import UVLoop

// Objects made on an `EventLoop` close themselves when it stops, unless their owner has closed them before.
// Make and use them in an actor on the loop, or in `EventLoop.post`.

extension HTTPStreams: LoopResource {
    public convenience init(on loop: EventLoop) {
        self.init(loop: loop.uv)
        loop.register(self)
        whenClosed = { [weak loop, weak self] in if let self { loop?.unregister(self) } }
    }

    public func loopWillStop() { close() }
}

extension Backend: LoopResource {
    /// Like the other initialiser; `http` must be on the same loop.
    public convenience init(
        _ configuration: BackendConfiguration, http: HTTPStreams, on loop: EventLoop,
        meter: SpeedMeter? = nil,
        continues: Bool? = nil, tested: Abilities? = nil, version: String? = nil
    ) {
        self.init(
            configuration, http: http, loop: loop.uv, meter: meter, continues: continues, tested: tested,
            version: version)
        loop.register(self)
        whenClosed = { [weak loop, weak self] in if let self { loop?.unregister(self) } }
    }

    public func loopWillStop() { close() }
}
