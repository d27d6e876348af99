import Synchronization
import Testing

@testable import Inference

@Suite struct DocumentReadsTests {
    private let huge = DocumentReads.togetherMax + 1

    @Test func hugeDocumentsAreReadOneAfterTheOtherInTheirOrder() {
        let loop = TestLoop()
        let reads = DocumentReads(loop: loop.uv)
        let running = Mutex((now: 0, most: 0))
        var read: [Int] = []
        for number in 0..<16 {
            reads.run(bytes: huge) {
                running.withLock {
                    $0.now += 1
                    $0.most = max($0.most, $0.now)
                }
                running.withLock { $0.now -= 1 }
                return number
            } then: {
                read.append($0)
            } isNeeded: {
                number != 7
            }
        }
        #expect(loop.run { read.count == 15 })
        #expect(read == (0..<16).filter { $0 != 7 } && running.withLock { $0.most } == 1)
    }

    @Test func aSmallerDocumentDoesNotWaitForThem() {
        let loop = TestLoop()
        let reads = DocumentReads(loop: loop.uv)
        let gate = Mutex(false)
        var read: [String] = []
        for _ in 0..<8 {
            reads.run(bytes: huge) {
                while !gate.withLock({ $0 }) {}
            } then: {
                read.append("huge")
            }
        }
        reads.run(bytes: 1) {
        } then: {
            read.append("small")
        }
        #expect(loop.run { !read.isEmpty })
        gate.withLock { $0 = true }
        #expect(loop.run { read.count == 9 })
        #expect(read.first == "small")
    }
}
