import DequeModule
import Primitives
import Sessions

/// One reliable, ordered byte stream between two processes, as TCP gives it: FIFO in each direction, the end seen after
/// what was written before it.
struct Stream {
    enum Parcel {
        case bytes([UInt8])
        case close
    }

    struct End {
        var host: Int32
        var incarnation: Int
        var channel: ChannelID?
        var isOpen: Bool
    }

    /// The dialler, then the acceptor.
    var ends: (dialler: End, acceptor: End)
    var isConnected = false
    /// In flight, by direction; the first `held` of the last ones wait for a partition to heal.
    var flights: (toAcceptor: Deque<Parcel>, toDialler: Deque<Parcel>) = ([], [])
    var held: (toAcceptor: Int, toDialler: Int) = (0, 0)
    var lastArrival: (toAcceptor: Int64, toDialler: Int64) = (0, 0)

    func receiver(_ direction: Event.Direction) -> End {
        direction == .toAcceptor ? ends.acceptor : ends.dialler
    }
    func sender(_ direction: Event.Direction) -> End {
        direction == .toAcceptor ? ends.dialler : ends.acceptor
    }

    mutating func closeEnd(sendingIn direction: Event.Direction) {
        if direction == .toAcceptor { ends.dialler.isOpen = false } else { ends.acceptor.isOpen = false }
    }

    mutating func closeEnd(receivingIn direction: Event.Direction) {
        if direction == .toAcceptor { ends.acceptor.isOpen = false } else { ends.dialler.isOpen = false }
    }

    mutating func push(_ parcel: Parcel, _ direction: Event.Direction) {
        if direction == .toAcceptor {
            flights.toAcceptor.append(parcel)
        } else {
            flights.toDialler.append(parcel)
        }
    }

    mutating func pop(_ direction: Event.Direction) -> Parcel? {
        direction == .toAcceptor ? flights.toAcceptor.popFirst() : flights.toDialler.popFirst()
    }

    mutating func hold(_ direction: Event.Direction) {
        if direction == .toAcceptor { held.toAcceptor += 1 } else { held.toDialler += 1 }
    }

    func isHeld(_ direction: Event.Direction) -> Bool {
        direction == .toAcceptor ? held.toAcceptor > 0 : held.toDialler > 0
    }

    /// Moves the arrival to no earlier than that of what was sent before.
    mutating func arrival(_ time: Int64, _ direction: Event.Direction) -> Int64 {
        if direction == .toAcceptor {
            lastArrival.toAcceptor = max(lastArrival.toAcceptor, time)
            return lastArrival.toAcceptor
        }
        lastArrival.toDialler = max(lastArrival.toDialler, time)
        return lastArrival.toDialler
    }
}
