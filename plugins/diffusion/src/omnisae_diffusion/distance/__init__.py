"""How far apart two sets of pictures are: FID and KID, each beside the distance within the natural set."""
