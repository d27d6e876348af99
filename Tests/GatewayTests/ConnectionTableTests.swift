import Primitives
import Testing

@testable import Gateway

@Suite struct ConnectionTables {
    private func remote(_ address: UInt32) -> ConnectionTable.Source {
        .init(Endpoint(ipv4: address, port: 5))
    }

    @Test func atTheBoundTheOneThatWaitedLongestMakesRoom() {
        var table = ConnectionTable(countMax: 3)
        #expect(table.open(from: .machine) == .admitted(1))
        #expect(table.open(from: .machine) == .admitted(2))
        #expect(table.open(from: .machine) == .admitted(3))
        table.set(1, waits: false)
        table.set(1, waits: true)
        let (second, third) = (table.open(from: .machine), table.open(from: .machine))
        #expect(closed(second) == 2 && closed(third) == 3)
        #expect(closed(table.open(from: .machine)) == 1, "its turn began when it was answered")
        #expect(table.count == 3)
    }

    @Test func aConnectionThatIsAnsweredStaysAndWhereNoneWaitsANewOneIsRefused() throws {
        var table = ConnectionTable(countMax: 2)
        var ids: [ConnectionTable.ID] = []
        for _ in 0..<2 {
            guard case .admitted(let id) = table.open(from: .machine) else { continue }
            table.set(id, waits: false)
            ids.append(id)
        }
        try #require(ids.count == 2)
        #expect(table.open(from: .machine) == .refused)
        table.set(ids[1], waits: true)
        #expect(closed(table.open(from: .machine)) == ids[1])
        table.close(ids[0])
        #expect(table.count == 1)
    }

    @Test func oneRemoteAddressHasAQuarterAndMakesRoomForItself() {
        var table = ConnectionTable(countMax: 64)
        for _ in 0..<16 { #expect(closed(table.open(from: remote(1))) == nil) }
        #expect(closed(table.open(from: remote(1))) == 1)
        #expect(closed(table.open(from: remote(2))) == nil)
        for _ in 0..<40 { #expect(closed(table.open(from: .machine)) == nil) }
        #expect(table.count == 57)
        // This machine's make room last.
        for _ in 0..<7 { #expect(closed(table.open(from: remote(3))) == nil) }
        #expect(closed(table.open(from: .machine)) == 2)
    }

    @Test func theSubnetOfAnIPv6AddressIsOneSourceAndAllOfLoopbackIsThisMachine() throws {
        func source(_ text: String) throws -> ConnectionTable.Source {
            ConnectionTable.Source(try #require(Endpoint(text)))
        }
        #expect(try source("[2001:db8::1]:1") == source("[2001:db8:0:7::2]:2"))
        #expect(try source("[2001:db8::1]:1") != source("[2001:db8:1::1]:1"))
        #expect(try source("192.0.2.1:1") != source("192.0.2.2:1"))
        #expect(try source("127.0.0.9:1") == .machine && source("[::1]:1") == .machine)
    }

    /// Against a list of all connections, the one that waited longest first.
    @Test(arguments: 1...8 as ClosedRange<UInt64>) func itDoesWhatAPlainListDoes(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let countMax = 40
        var table = ConnectionTable(countMax: countMax)
        var list: [(id: ConnectionTable.ID, source: ConnectionTable.Source, waits: Bool)] = []
        for _ in 0..<4_000 {
            if random.below(3) == 0 || list.isEmpty {
                let pick = UInt32(random.below(5))
                let source = pick == 0 ? ConnectionTable.Source.machine : remote(pick)
                let isFull =
                    source != .machine && list.count(where: { $0.source == source }) >= 10
                let victim =
                    isFull
                    ? list.first { $0.waits && $0.source == source }
                    : list.first { $0.waits && $0.source != .machine } ?? list.first { $0.waits }
                switch table.open(from: source) {
                case .admitted(let id):
                    #expect(!isFull && list.count < countMax)
                    list.append((id, source, true))
                case .replacing(let id, let closing):
                    #expect(isFull || list.count == countMax)
                    #expect(victim?.id == closing)
                    list.removeAll { $0.id == closing }
                    list.append((id, source, true))
                case .refused:
                    #expect((isFull || list.count == countMax) && victim == nil)
                }
            } else {
                let index = random.below(list.count)
                var entry = list[index]
                if random.below(4) == 0 {
                    table.close(entry.id)
                    list.remove(at: index)
                } else {
                    let waits = random.below(2) == 0
                    table.set(entry.id, waits: waits)
                    if waits != entry.waits {
                        list.remove(at: index)
                        entry.waits = waits
                        list.append(entry)
                    }
                }
            }
            #expect(table.count == list.count)
        }
    }

    private func closed(_ admission: ConnectionTable.Admission) -> ConnectionTable.ID? {
        if case .replacing(_, let closing) = admission { closing } else { nil }
    }
}
