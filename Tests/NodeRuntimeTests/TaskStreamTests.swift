import Cryptography
import Market
import NodeRuntime
import Primitives
import Synchronization
import Testing
import Wire

private final class Counter: Sendable {
    private let value = Mutex(0)
    var count: Int { value.withLock { $0 } }
    func increment() { value.withLock { $0 += 1 } }
}

private func text(_ events: [ClientEvent]?) -> [String]? {
    events?.map {
        switch $0 {
        case .delta(let bytes, _, _): String(decoding: bytes, as: UTF8.self)
        case .failed(let failure): "failed \(failure.reason.code)"
        default: "other"
        }
    }
}

private func delta(_ text: String) -> ClientEvent { .delta(text: Array(text.utf8), tokens: 1, extra: []) }
private let someTask = TaskID(high: 1, low: 2)

@Test func aReaderTakesAllThatIsBufferedAndThenTheEnd() async {
    let stream = TaskStream(id: someTask, onCancel: {})
    #expect(stream.append(delta("a")))
    #expect(stream.append(delta("b")))
    #expect(text(await stream.next()) == ["a", "b"])
    async let waiting = stream.next()
    stream.append(.failed(TaskFailure(.workerLost, message: "gone")))
    #expect(text(await waiting) == ["failed worker_lost"])
    stream.append(delta("late"))
    #expect(await stream.next() == nil)
    #expect(await stream.next() == nil)
}

@Test func aFullPipeSaysSoAndResumesOnceBelowTheLowWaterMark() async {
    let resumed = Counter()
    let stream = TaskStream(
        id: someTask, highWater: 10, lowWater: 4, onResume: { resumed.increment() }, onCancel: {})
    #expect(stream.append(delta("0123456789")))
    #expect(!stream.append(delta("!")))
    #expect(!stream.append(delta("!")))
    _ = await stream.next()
    stream.consumed(8)
    #expect(resumed.count == 0)
    stream.consumed(2)
    stream.consumed(2)
    #expect(resumed.count == 1)
    #expect(stream.append(delta("on")))
}

@Test func aCancelIsToldOnceAndFreesTheReader() async {
    let cancelled = Counter()
    let stream = TaskStream(id: someTask, onCancel: { cancelled.increment() })
    async let waiting = stream.next()
    stream.cancel()
    stream.cancel()
    #expect(await waiting == nil)
    #expect(cancelled.count == 1)
    #expect(stream.append(delta("dropped")))
    #expect(await stream.next() == nil)
}

@Test func cancellingTheWaitingTaskCancelsTheStream() async {
    let cancelled = Counter()
    let stream = TaskStream(id: someTask, onCancel: { cancelled.increment() })
    let reader = Task { await stream.next() }
    reader.cancel()
    #expect(await reader.value == nil)
    #expect(cancelled.count == 1)
}

@Test func aCancelAfterTheLastEventIsNoCancel() async {
    let cancelled = Counter()
    let stream = TaskStream(id: someTask, onCancel: { cancelled.increment() })
    stream.append(.failed(TaskFailure(.busy, message: "")))
    stream.cancel()
    #expect(cancelled.count == 0)
}

@Test func aWakeReturnsWithNothing() async {
    let stream = TaskStream(id: someTask, onCancel: {})
    stream.wake()
    #expect(await stream.next()?.isEmpty == true)
    async let waiting = stream.next()
    stream.wake()
    #expect(await waiting?.isEmpty == true)
}

@Test func progressWithoutEndIsOneEventForAClientThatDoesNotRead() async throws {
    let stream = TaskStream(id: someTask, onCancel: {})
    for _ in 0..<10_000 {
        stream.append(.progress(Progress(phase: .prefill, tokens: 0)))
        stream.append(.progress(Progress(phase: .generating, tokens: 0)))
    }
    let events = try #require(await stream.next())
    #expect(events.count == 1)
    guard case .progress(let progress)? = events.first, progress.phase == .generating else {
        return #expect(Bool(false), "not the latest report: \(events)")
    }
}

@Test func aLongBufferJoinsItsTextAndKeepsOrderBytesAndTokens() async throws {
    let stream = TaskStream(id: someTask, onCancel: {})
    for index in 0..<20_000 {
        stream.append(delta(String(index % 10)))
        stream.append(.progress(Progress(phase: .generating, tokens: 0)))
    }
    stream.append(.delta(text: [], tokens: 1, extra: Array("[{}]".utf8)))
    stream.append(delta("z"))
    stream.append(.failed(TaskFailure(.workerLost, message: "gone")))
    let events = try #require(await stream.next())
    #expect(events.count < 300)
    var tokens: UInt32 = 0
    for case .delta(_, let count, _) in events { tokens += count }
    #expect(tokens == 20_002)
    let all = (0..<20_000).map { String($0 % 10) }.joined()
    #expect(text(events)?.joined() == all + "zfailed worker_lost")
}

private let award = ClientEvent.awarded(
    AwardSummary(
        attempt: 1, worker: PublicKey(.zero), workerName: "", quantization: "", digest: nil,
        price: Price(), known: 1, asked: 1, bids: 1, choose: .zero,
        collect: .zero, award: .zero, resume: .none))

@Test func anAwardWakesNobodyAndComesWithWhatFollows() async {
    let stream = TaskStream(id: someTask, onCancel: {})
    stream.append(award)
    async let waiting = stream.next()
    stream.append(delta("a"))
    #expect(text(await waiting) == ["other", "a"])
}

@Test func newsOfTheQueueWakesTheReader() async {
    let stream = TaskStream(id: someTask, onCancel: {})
    async let waiting = stream.next()
    stream.append(.progress(Progress(phase: .queued, tokens: 12_000, place: 3)))
    #expect(await waiting?.count == 1)
}

@Test func aWaitIsNewsIfThePlaceOrATenthOfItChanges() {
    var news = QueueNews()
    func isNews(_ place: UInt32, _ milliseconds: UInt32, _ phase: Phase = .queued) -> Bool {
        news.isNews(Progress(phase: phase, tokens: milliseconds, place: place))
    }
    #expect(isNews(3, 60_000))
    #expect(!isNews(3, 60_000) && !isNews(3, 55_000) && isNews(3, 54_000), "a tenth")
    #expect(isNews(2, 54_000) && isNews(2, 5_000))
    #expect(!isNews(2, 4_500) && isNews(2, 4_000), "a second")
    #expect(isNews(1, .max) && isNews(1, 0))
    #expect(!isNews(1, 7, .prefill) && isNews(1, 0), "it waits again")
    #expect(Progress(phase: .queued, tokens: .max).queueInWords == "queued, about 4294968 s")
    #expect(Progress(phase: .queued, tokens: 0, place: 2).queueInWords == "queued, place 2")
    #expect(Progress(phase: .loading, tokens: 9, place: 2).queueInWords == nil)
}

@Test func aWokenReaderGetsTheAwardAndThenNothing() async {
    let stream = TaskStream(id: someTask, onCancel: {})
    let reader = Task { [await stream.next(), await stream.next()] }
    stream.append(award)
    stream.wake()
    let taken = await reader.value.map { text($0) ?? [] }
    #expect(taken == [["other"], []])
}
