"""The words of the sample corpus, and what they have to do with each other.

The tables are text, read at the end. In a taxonomy a line `fruit: apple pear` says that apples and
pears are fruit; a name with a capital, such as `Top`, is a class that no sentence names.
"""

import re
from functools import cache

# ---- Who and what: `~` has no plural (soup), `+` has no singular (jeans) ------------------------

PEOPLE = """
person: adult child
adult: man woman
child: boy girl
"""
JOBS = """
person: musician athlete artist worker medic scientist official performer educator
musician: guitarist violinist drummer pianist singer cellist flutist trumpeter accordionist
runner: sprinter
athlete: runner swimmer goalkeeper gymnast boxer cyclist wrestler skier surfer golfer
athlete: fencer
artist: painter sculptor photographer potter weaver
worker: farmer builder carpenter plumber mechanic gardener tailor baker butcher waiter barber
worker: welder miner electrician cobbler pilot sailor
medic: nurse doctor
doctor: surgeon dentist paramedic veterinarian
scientist: chemist biologist astronomer physicist botanist geologist mathematician
official: policeman judge mayor soldier firefighter guard
educator: teacher professor librarian coach tutor lecturer
performer: clown juggler magician acrobat dancer comedian puppeteer
"""
ANIMALS = """
animal: dog cat bird horse cow sheep goat pig rodent reptile monkey ape rabbit
animal: bear deer elephant donkey lion
animal: tiger wolf fox zebra giraffe camel kangaroo llama
dog: puppy poodle spaniel terrier collie bulldog dachshund retriever greyhound chihuahua dalmatian
cat: kitten tomcat
bird: duck goose hen rooster pigeon crow parrot owl eagle swan turkey penguin flamingo sparrow
bird: robin ostrich peacock falcon raven hummingbird
horse: pony stallion foal
cow: calf bull
sheep: lamb ewe
rodent: mouse rat squirrel hamster beaver chipmunk
reptile: lizard turtle snake crocodile tortoise iguana
monkey: baboon
ape: chimpanzee gorilla orangutan
"""
THINGS = """
Food: fruit vegetable pastry meat meal
fruit: apple banana pear peach plum cherry mango melon apricot lemon strawberry pineapple coconut
fruit: papaya kiwi fig lime pomegranate
vegetable: carrot potato onion tomato cucumber cabbage radish turnip eggplant leek pepper pumpkin
vegetable: zucchini artichoke beet
pastry: cake pie cookie muffin croissant pancake waffle doughnut brownie tart pretzel bagel scone
meat~: steak sausage ham~ bacon~ meatball
meal: sandwich pizza soup~ salad omelet stew~ burger taco burrito casserole curry~ quiche dumpling
drink: tea~ coffee~ milk~ juice~ water~ lemonade~ cocoa~ cider~ soda~
Text: book letter newspaper magazine poem map menu brochure leaflet postcard
book: novel diary dictionary cookbook textbook
instrument: guitar violin cello harp banjo drum piano accordion trumpet flute clarinet harmonica
instrument: saxophone trombone tuba oboe ukulele xylophone
Garment: Top Headwear Footwear Legwear Dress Overcoat
Top: shirt sweater hoodie tunic
shirt: blouse jersey
sweater: cardigan pullover
Headwear: hat helmet turban
hat: cap beret bonnet sombrero
Footwear: boots+ sandals+ sneakers+ slippers+ loafers+
Legwear: trousers+ shorts+ skirt
trousers+: jeans+ leggings+ overalls+
skirt: kilt
Dress: dress
dress: gown
Overcoat: coat jacket vest cloak
coat: raincoat parka
vehicle: car truck bus van tractor ambulance bulldozer trailer
car: taxi limousine
van: minivan
Cycle: bicycle motorcycle scooter tricycle unicycle
boat: canoe kayak rowboat sailboat raft ferry yacht gondola
aircraft: airplane helicopter glider
container: box basket bucket bag barrel jar crate bottle vase pitcher flask canister
bag: backpack purse sack suitcase
Load: log plank brick tire beam pipe
furniture~: table desk wardrobe bookcase cradle shelf dresser nightstand
Barrier: fence wall gate
Building: house shed barn cabin hut cottage tower chapel castle
computer: laptop
machine: computer printer radio camera telephone television scanner dishwasher refrigerator
Fixture: lamp clock mirror fan chandelier candle lantern
dish: plate bowl pot pan mug saucer goblet teapot
Opening: door window drawer cupboard
toy: doll puppet balloon kite robot marble yo-yo kaleidoscope
ball: football basketball volleyball baseball softball
Missile: frisbee stone snowball dart boomerang javelin discus arrow
Cart: cart wheelbarrow stroller sled trolley wagon
plant: flower tree bush
flower: rose tulip daisy sunflower lily orchid iris
tree: oak pine maple birch willow cedar
crop: corn~ wheat~ rice~
Height: ladder rope cliff hill
picture: portrait landscape cartoon mural poster
Fabric: curtain blanket quilt scarf towel apron tablecloth carpet napkin handkerchief
jewel: necklace bracelet ring earring brooch pendant
Gift: parcel trophy medal card bouquet certificate
Ground: floor porch staircase sidewalk hallway patio driveway
"""
IRREGULAR = {
    "man": "men", "woman": "women", "person": "people", "child": "children", "goose": "geese",
    "mouse": "mice", "sheep": "sheep", "deer": "deer", "policeman": "policemen", "calf": "calves",
    "shelf": "shelves", "scarf": "scarves", "potato": "potatoes", "tomato": "tomatoes",
    "wolf": "wolves", "mango": "mangoes", "aircraft": "aircraft", "dress": "dresses", }  # fmt: skip

# ---- What is done --------------------------------------------------------------------------------

# Setting (letters of SETTINGS), verb, participle, what it is done to | with what
DEEDS = """
hkgap eating eaten Food | fork spoon
hkgap drinking drunk drink | straw
k cooking cooked meat vegetable soup stew omelet | skillet wok
k baking baked pastry pizza | oven
ga grilling grilled meat vegetable burger | tongs
k slicing sliced fruit vegetable meat cake | knife
k peeling peeled apple banana pear mango potato onion carrot cucumber | peeler
k chopping chopped vegetable | cleaver
k serving served meal pastry drink | tray
hpgr playing played instrument |
hpw tuning tuned instrument | wrench
grfa riding ridden Cycle horse |
rf driving driven vehicle |
a rowing rowed canoe rowboat raft | oar
y flying flown aircraft |
hpga reading read Text | magnifier
hpg writing written letter poem book | pencil pen typewriter
hp tearing torn letter newspaper magazine card |
gr washing washed vehicle Cycle Opening | sponge hose
hk rinsing rinsed dish | sponge
hkp wiping wiped furniture dish window | cloth rag
hp dusting dusted furniture picture Fixture | feather
hkp scrubbing scrubbed Ground dish | brush
hp sweeping swept Ground | broom
hkp mopping mopped floor staircase | mop
hw fixing fixed machine Cycle vehicle Fixture | screwdriver wrench pliers
hk breaking broken dish Fixture window | hammer
fga building built Building Barrier raft | hammer saw
hw assembling assembled furniture | screwdriver
gw painting painted picture Building Barrier furniture | brush roller
hpg drawing drawn picture flower map | pencil chalk crayon
gran photographing photographed Building boat flower tree | tripod
hmrfw carrying carried container Load plant |
wfm lifting lifted container Load furniture | crane lever
rg pushing pushed Cart vehicle |
rfa pulling pulled Cart barrel boat | chain
wm stacking stacked container Load | forklift
kwf filling filled container | funnel
hp opening opened Opening container Gift | key crowbar
hp closing closed Opening container |
gas throwing thrown ball Missile |
gas catching caught ball Missile | glove net
gas kicking kicked ball |
fgn climbing climbed Height tree Barrier |
gf watering watered plant crop | can hose
gf planting planted plant crop | shovel trowel
gf picking picked fruit flower |
g trimming trimmed bush tree | shears
f harvesting harvested crop vegetable | sickle
hw sewing sewn Garment Fabric | needle
hpg knitting knitted sweater scarf blanket | needle
h folding folded Garment Fabric |
h ironing ironed Garment Fabric |
m buying bought fruit vegetable flower jewel toy Garment |
m selling sold fruit vegetable flower jewel toy Garment |
hm wrapping wrapped Gift jewel toy | ribbon
hm polishing polished jewel Footwear trophy | cloth rag
hpgrm holding held toy dish flower Gift |
hg hiding hidden jewel Gift toy |
hgw cutting cut rope log plank cake bush | knife saw scissors
ga burning burnt log letter newspaper | torch
"""
DEALINGS = """
grfa chasing chased person dog cat bird rabbit sheep goat pig squirrel |
grfanp following followed person animal |
grfanp leading led person dog horse cow sheep goat donkey camel |
ha bathing bathed dog cat horse child | sponge
hgfz feeding fed animal child |
hgf petting petted dog cat horse cow sheep goat rabbit donkey |
hf brushing brushed dog cat horse |
hpgra hugging hugged person dog |
pgrm greeting greeted person |
hpgrm helping helped person |
pgs teaching taught person |
pgrfanz watching watched person animal | telescope
hpg scolding scolded child dog |
arn rescuing rescued person dog cat horse | rope
hga tickling tickled child |
prf guarding guarded person sheep cow |
"""
HANDOVERS = """
hpgm giving given Gift fruit flower toy Text |
hpg showing shown jewel picture toy Text |
hpk handing handed dish fruit Text |
hpgm offering offered fruit jewel flower meal |
hpg lending lent Cycle Text instrument |
hkg bringing brought drink meal container |
"""
ONE_AT_A_TIME = """
riding driving rowing flying playing tuning climbing bathing brushing mopping building
""".split()
SYMMETRIC = "hugging greeting".split()  # who does these, also has them done
CHILDREN_CANNOT = """
cooking baking grilling chopping serving tuning driving flying fixing building assembling stacking
mopping lifting trimming harvesting sewing ironing selling lending teaching rescuing guarding
burning typing gardening polishing scolding waltzing marching hiking yodeling sprinting
""".split()
EVERYBODY_DOES = """
eating drinking reading writing carrying holding opening closing buying photographing watching
greeting helping following giving showing handing offering walking running waving laughing singing
sleeping pointing clapping
""".split()
# What a trade does besides, more often than that
TRADES_DO = """
musician guitarist violinist drummer pianist cellist flutist trumpeter accordionist: playing tuning
singer: singing humming
athlete gymnast boxer wrestler: jumping stretching running
runner sprinter: jogging sprinting
swimmer: swimming
goalkeeper: catching throwing kicking
cyclist: riding fixing
fencer golfer skier surfer: hiking stretching
artist painter: painting drawing
sculptor potter: polishing painting
photographer: photographing
weaver: knitting sewing
farmer: harvesting planting feeding picking driving
worker builder carpenter: building lifting stacking cutting pushing
plumber mechanic electrician welder: fixing
gardener: watering planting trimming gardening
tailor: sewing ironing folding
baker: baking slicing selling
butcher: slicing chopping selling
waiter: serving bringing wiping
barber: sweeping wiping
miner: pushing lifting
cobbler: polishing selling
pilot: flying
sailor: rowing pulling
medic nurse doctor surgeon dentist paramedic: helping bringing
veterinarian: feeding petting bathing
scientist chemist biologist astronomer physicist botanist geologist mathematician: typing drawing
official judge mayor: typing shouting
policeman guard: guarding chasing
soldier: marching guarding
firefighter: rescuing climbing
educator teacher professor tutor lecturer: teaching scolding
librarian: stacking lending
coach: teaching shouting
performer clown juggler magician comedian puppeteer: throwing catching bowing
acrobat dancer: dancing jumping bowing
"""
INSTRUMENTS = """
guitarist guitar
violinist violin
drummer drum
pianist piano
cellist cello
flutist flute
trumpeter trumpet
accordionist accordion
"""
ANIMALS_CAN = "chasing following watching guarding".split()  # of the dealings
ANIMAL_POSTURES = "sitting standing lying".split()
ANIMAL_MANNERS = "quickly slowly quietly loudly calmly nervously".split()
PERSONS_DO = """
running walking jumping crawling swimming dancing skating jogging sprinting strolling marching
limping hiking hopping leaping waltzing sleeping meditating napping dozing snoring singing shouting
whispering laughing crying humming yodeling giggling sobbing waving clapping pointing bowing
gardening typing stretching
""".split()
ANIMALS_DO = "running walking jumping crawling swimming sleeping napping hopping leaping".split()
# Where these are done
SETTING = """
running jogging: grsa
walking: grfanp
jumping hopping leaping: gsa
crawling: hg
swimming: a
dancing: hpgr
skating: rg
sprinting: s
strolling: gra
marching: r
limping: rp
hiking: n
waltzing: p
sleeping napping: hga
dozing: hpga
snoring: h
meditating: hgan
singing: hpgr
shouting: rsg
whispering giggling sobbing: hpg
laughing crying: hpgr
humming: hgw
yodeling: n
waving: grap
clapping: psg
pointing: grnp
bowing: pg
gardening: g
typing: hp
stretching: gsh
"""
# Where an animal lives; without a line of its own it lives where its kind does
HABITATS = """
dog cat: hgrf
bird sparrow robin pigeon crow hummingbird parrot: g
duck goose swan: ga
hen rooster turkey: f
penguin flamingo ostrich peacock: z
owl eagle falcon raven: n
horse cow sheep goat pig donkey: fb
rodent squirrel chipmunk: gn
mouse rat hamster: hf
beaver turtle crocodile: a
reptile lizard snake: n
tortoise iguana: z
monkey ape: nz
rabbit: gf
deer fox wolf: n
bear: nz
elephant lion tiger zebra giraffe camel kangaroo llama: z
animal: hgrfanz
"""
SMALL = "cat bird rodent reptile rabbit".split()  # these do not chase what is bigger
MEET_PEOPLE = "dog horse cow goat monkey donkey goose animal".split()
ACTIONS = """
moving: running walking jumping crawling swimming dancing skating
running: jogging sprinting
walking: strolling marching limping hiking
jumping: hopping leaping
dancing: waltzing
resting: sleeping meditating
sleeping: napping dozing snoring
Voice: singing shouting whispering laughing crying
singing: humming yodeling
laughing: giggling
crying: sobbing
gesturing: waving clapping pointing bowing
cleaning: washing rinsing wiping dusting scrubbing sweeping mopping polishing
making: building assembling sewing knitting
preparing: cooking baking grilling slicing peeling chopping
growing: watering planting trimming
"""
POSTURES = {  # with what one sits on, and so forth
    "sitting": "on a bench|on a sofa|in an armchair|on a stool|on a rug|on a boulder",
    "standing": "on a platform|under an umbrella|behind a counter|in a doorway",
    "kneeling": "on a mat|on a cushion|on the grass",
    "lying": "in a hammock|on a mattress|in a bed|on a cot",
}
INDOOR_SEATS = """
on a sofa|in an armchair|on a rug|behind a counter|in a doorway|on a mat|on a cushion
on a mattress|in a bed|on a cot
"""
OUTDOOR_SEATS = "on a boulder|under an umbrella|on the grass|in a hammock"
FOR_ONE = "in an armchair|on a stool|on a boulder|on a cushion|on a cot|in a hammock"
EASY = """
holding carrying lifting filling watching guarding following chasing leading hiding photographing
""".split()  # these can be done while doing something else to the same thing
# What can be done while sitting, standing, kneeling or lying
STATIONARY = """
eating drinking reading writing playing sewing knitting drawing singing whispering laughing crying
waving clapping holding wrapping
""".split()

# ---- The simple past ----------------------------------------------------------------------------

IRREGULAR_PAST = """
eating ate|drinking drank|riding rode|driving drove|flying flew|reading read|writing wrote
tearing tore|breaking broke|drawing drew|throwing threw|hiding hid|sewing sewed|giving gave
showing showed|running ran|swimming swam|sleeping slept|singing sang|crying cried
making made|growing grew
"""

# ---- Where, when, how ----------------------------------------------------------------------------

PLACES = """
indoors: in a kitchen|in a bedroom|in a bathroom|in an office|in a library|in a school|in a shop
indoors: in a restaurant|in a gym|in a museum|in a hospital|in a theater|in a church|in a factory
indoors: in a garage|in a station|in a laboratory|in a hotel|in a cellar|in an attic|in an elevator
indoors: in a bank|in a courtroom|in a studio|in a stable|in a gallery|in a tunnel|in a prison
in a school: in a classroom|in a cafeteria
in a shop: in a bakery|in a supermarket|in a bookstore|in a pharmacy
in a restaurant: in a diner|in a pizzeria|in a tavern
in a hospital: in a ward
in a factory: in a mill|in a brewery
outdoors: in a park|on a street|near water|on farmland|in a forest|in a garden|on a mountain
outdoors: in a desert|in a stadium|at a fair|on a racetrack|in a quarry|in a cemetery|in a zoo
outdoors: in a swamp|in a canyon|on a runway|in a plaza|in a valley
near water: on a beach|by a lake|by a river|on a pier|in a harbor|by a waterfall|on an island
on a street: on a boulevard|in an alley|on a bridge|at a crossroads
on farmland: in a field|in a meadow|in an orchard|in a vineyard|in a pasture
in a forest: in a jungle|in a grove
on a mountain: on a volcano|on a glacier
in a park: on a playground
"""
SETTINGS = """
h: in a kitchen|in a bedroom|in a cellar|in an attic|in a bathroom
k: in a kitchen|in a restaurant|in a diner|in a pizzeria|in a tavern|in a cafeteria|in a hotel
k: in a bakery
p: in an office|in a library|in a school|in a museum|in a hospital|in a theater|in a church
p: in a station|in a hotel|in a bank|in a courtroom|in a gallery|in a classroom|in a ward
p: in an elevator|in a prison
w: in a garage|in a factory|in a studio|in a laboratory|in a mill|in a brewery|in a quarry
m: in a shop|in a supermarket|in a bookstore|in a pharmacy|at a fair|in a plaza|in a bakery
g: in a park|in a garden|on a playground|in a plaza|in a meadow|in a cemetery
r: on a street|on a boulevard|in an alley|on a bridge|at a crossroads|in a tunnel
f: on farmland|in a field|in a meadow|in an orchard|in a vineyard|in a pasture
b: in a stable
a: near water|on a beach|by a lake|by a river|on a pier|in a harbor|by a waterfall|on an island
n: in a forest|on a mountain|in a valley|in a jungle|in a grove|in a desert|in a canyon
n: in a swamp|on a volcano|on a glacier
s: in a stadium|in a gym|on a racetrack|on a playground
y: on a runway|in a field|on an island
z: in a zoo
"""
TIMES = """
Day: in the morning|at noon|in the afternoon|in the evening|at night
in the morning: at dawn|at breakfast
in the evening: at dusk|at supper
at night: at midnight
"""
DAYS = "on monday|on tuesday|on wednesday|on thursday|on friday|on saturday|on sunday"
SEASONS = """
in the spring: in march|in april|in may
in the summer: in june|in july|in august
in the autumn: in september|in october|in november
in the winter: in december|in january|in february
"""
NAMES = {phrase.split()[-1] for phrase in DAYS.split("|")}
NAMES |= set(re.findall(r"in (\w+)(?=[|\n])", SEASONS))  # the months
WEATHER = """
in bad weather: in the rain|in the snow|in the fog
in the rain: in a drizzle|in a downpour
in the snow: in a blizzard
in the fog: in a mist
in good weather: in the sunshine
"""
WEATHER_CLAUSES = {
    "in the rain": "it is raining",
    "in the snow": "it is snowing",
    "in the sunshine": "the sun is shining",
}
FOR_WOMEN = "blouse gown dress bonnet skirt leggings".split()
MANNERS = """
quickly slowly
quietly loudly
carefully carelessly
happily sadly
proudly shyly
gently roughly
eagerly reluctantly
calmly nervously
skillfully clumsily
patiently impatiently
politely rudely
gracefully awkwardly
bravely timidly
alone together
"""
# How things are done: of which rows by whom and with whom
MOVING_MANNERS = "quickly slowly happily gracefully awkwardly alone together".split()
SOCIAL_MANNERS = "politely rudely patiently impatiently gently proudly shyly".split()
CAREFUL_MANNERS = """
quickly slowly carefully carelessly skillfully clumsily happily eagerly reluctantly alone together
calmly quietly
""".split()
VOICE_MANNERS = "quietly loudly happily sadly".split()

# ---- Adjectives: a row is a dimension, on which a thing is only one of the words -----------------

ADJECTIVES = """
age: young old
height: tall short
weight: slim heavy
mood: happy sad angry scared bored
energy: tired energetic
wealth: rich poor
hair: blond bald gray-haired
wildness: tame wild
hunger: hungry well-fed
wetness: wet dry
coat: shaggy smooth
price: cheap expensive
size: big small
newness: new used
state: dirty clean
heat: hot cold
freshness: fresh rotten
pattern: striped dotted checkered plain
color: red blue green yellow black white brown gray pink purple orange
material: wooden metal plastic
stuff: woolen cotton leather silken
"""
SHADES = """
old: elderly
tall: lanky
slim: skinny
heavy: obese
happy: delighted ecstatic joyful
sad: miserable gloomy heartbroken
angry: furious enraged
scared: terrified petrified
tired: exhausted
rich: affluent
poor: penniless
wild: ferocious
hungry: starving
wet: soaked drenched
cheap: worthless
expensive: priceless
big: huge gigantic
small: tiny
dirty: filthy muddy
clean: spotless
hot: boiling scalding
cold: frozen icy
rotten: moldy
red: scarlet crimson
blue: navy turquoise
green: olive
purple: violet
wooden: oaken
metal: steel copper
"""
DIMENSIONS = {  # what can be said of what: the first row with a class that fits counts
    "child": "height mood energy",
    "person": "age height weight mood energy hair wealth",
    "bird reptile": "size wetness hunger",
    "puppy kitten calf foal lamb": "size coat wetness hunger",
    "dog cat horse cow sheep goat pig donkey rabbit": "age size coat wetness hunger",
    "animal": "age size coat wetness hunger wildness",
    "drink": "heat price",
    "fruit vegetable crop": "size freshness price",
    "Food": "size heat price",
    "Garment Fabric": "color pattern stuff state",
    "vehicle boat aircraft Cycle Cart": "color newness state size",
    "plant Ground Height Building": "size wetness age",
    "Text picture machine Fixture instrument jewel": "newness price size",
    "toy ball": "size color newness state",
    "Load Missile": "size state",
    "Gift": "size price",
    "": "size color material newness state",
}
TRAITS = "a cane|a crutch|a ponytail|a braid|a tattoo|a monocle"
SYNONYMS = """
bicycle bike
sofa couch
stone rock
small little
big large
happy cheerful
angry mad
tired weary
fixing repairing
fixed repaired
jumping bouncing
sleeping slumbering
quickly rapidly
quietly silently
happily cheerily
carefully cautiously
outdoors outside
indoors inside
child kid
man guy
woman lady
airplane plane
doctor physician
autumn fall
street road
shop store
letter note
box carton
closing shutting
closed shut
shouting yelling
crying weeping
dirty grimy
television tv
"""

# ---- The tables, read ----------------------------------------------------------------------------


def _lines(table: str, separator: str = " ") -> list[tuple[str, list[str]]]:
    """Return the rows of a taxonomy: a name and what stands below it."""
    rows = (line.split(": ") for line in table.strip().splitlines())
    return [(above, below.split(separator)) for above, below in rows]


def _bare(word: str) -> str:
    return word.rstrip("~+")


_TAXONOMIES = [
    *(row for table in (PEOPLE, JOBS, ANIMALS, THINGS, ACTIONS, SHADES) for row in _lines(table)),
    *(row for table in (PLACES, TIMES, SEASONS, WEATHER) for row in _lines(table, "|")),
]
_MARKED = {word for above, below in _TAXONOMIES for word in (above, *below) if word[-1] in "~+"}
MASS = {_bare(word) for word in _MARKED if word.endswith("~")}
PLURAL_ONLY = {_bare(word) for word in _MARKED if word.endswith("+")}
PARENT = {_bare(word): _bare(above) for above, below in _TAXONOMIES for word in below}
ROWS = dict(_lines(ADJECTIVES))
OPPOSITE = dict(map(str.split, MANNERS.strip().splitlines()))
OPPOSITE |= {b: a for a, b in OPPOSITE.items()}


def plural(noun: str) -> str:
    """Return the plural of a noun."""
    if noun in IRREGULAR or noun in PLURAL_ONLY or noun in MASS:
        return IRREGULAR.get(noun, noun)
    if noun[-1] == "y" and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def _read_past() -> dict[str, str]:
    """Return the simple past of every verb by its form in -ing."""
    verbs = [*PERSONS_DO, *ANIMALS_DO, *re.findall("[a-z]+ing", ACTIONS)]
    past = {verb: verb.removesuffix("ing") + "ed" for verb in verbs}
    for line in filter(None, (DEEDS + DEALINGS + HANDOVERS).splitlines()):
        _, verb, participle, *_ = line.split()
        past[verb] = participle
    return past | dict(map(str.split, re.split(r"[|\n]", IRREGULAR_PAST.strip())))


PAST = _read_past()
SYNONYM = dict(map(str.split, SYNONYMS.strip().splitlines()))
SYNONYM |= {plural(a): plural(b) for a, b in SYNONYM.items() if a in PARENT and a[-3:] != "ing"}


@cache
def ancestors(word: str) -> list[str]:
    """Return what stands above a word, the nearest first, classes included."""
    above = []
    while word in PARENT:
        word = PARENT[word]
        above.append(word)
    return above


@cache
def below(*names: str) -> list[str]:
    """Return the words that stand below names; a name with nothing below it gives itself."""
    words = []
    for name in names:
        children = [word for word, above in PARENT.items() if above == name]
        for child in children:
            words += ([] if child[0].isupper() else [child]) + below(child)
        words += [] if children else [name]
    return list(dict.fromkeys(words))


def generals(word: str) -> list[str]:
    """Return the words that are more general than a word."""
    return [above for above in ancestors(word) if above[0].islower()]
