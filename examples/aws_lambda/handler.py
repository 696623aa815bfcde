"""mediagate as a function of AWS Lambda. README.md says how to put it there."""

from mangum import Mangum

from gateway.app import app

handler = Mangum(app, lifespan="off")
