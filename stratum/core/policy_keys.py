"""The condition keys a bucket policy may name.

Room: stratum/core. May import: nothing of ours.

A key that no request here ever has (a VPC, an organisation) is known all the same: what it asks for is then absent.
A key that nobody knows is a spelling mistake, and a Deny with it would deny nothing: refused when it is stored.

Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html,
docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html#amazons3-policy-keys
"""

_GLOBAL = """
CalledVia CalledViaFirst CalledViaLast CurrentTime Ec2InstanceSourcePrivateIPv4 Ec2InstanceSourceVpc EpochTime
FederatedProvider MultiFactorAuthAge MultiFactorAuthPresent PrincipalAccount PrincipalArn PrincipalIsAWSService
PrincipalOrgID PrincipalOrgPaths PrincipalServiceName PrincipalServiceNamesList PrincipalType Referer RequestedRegion
ResourceAccount ResourceOrgID ResourceOrgPaths SecureTransport SourceAccount SourceArn SourceIp SourceOrgID
SourceOrgPaths SourceOwner SourceVpc SourceVpcArn SourceVpce TagKeys TokenIssueTime UserAgent userid username
ViaAWSService VpcSourceIp VpceAccount VpceOrgID VpceOrgPaths
"""
_S3 = """
AccessGrantsInstanceArn AccessPointNetworkOrigin DataAccessPointAccount DataAccessPointArn ExistingJobOperation
ExistingJobPriority InventoryAccessibleOptionalFields JobSuspendedCause LocationConstraint ObjectCreationOperation
RequestJobOperation RequestJobPriority RequestObjectTagKeys ResourceAccount TlsVersion VersionId authType delimiter
destinationRegion if-match if-none-match isReplicationPauseRequest max-keys object-lock-legal-hold object-lock-mode
object-lock-remaining-retention-days object-lock-retain-until-date prefix signatureAge signatureversion x-amz-acl
x-amz-content-sha256 x-amz-copy-source x-amz-grant-full-control x-amz-grant-read x-amz-grant-read-acp
x-amz-grant-write x-amz-grant-write-acp x-amz-metadata-directive x-amz-object-ownership x-amz-server-side-encryption
x-amz-server-side-encryption-aws-kms-key-id x-amz-server-side-encryption-customer-algorithm x-amz-storage-class
x-amz-website-redirect-location
"""
_KEYS = frozenset([f"aws:{name.lower()}" for name in _GLOBAL.split()] + [f"s3:{name.lower()}" for name in _S3.split()])

EXISTING_TAG, REQUEST_TAG = "s3:existingobjecttag/", "s3:requestobjecttag/"
_FAMILIES = (
    EXISTING_TAG,
    REQUEST_TAG,
    "aws:principaltag/",
    "aws:requesttag/",
    "aws:resourcetag/",
    "s3:buckettag/",
)


def known_key(key: str) -> bool:
    """Is `key`, in any case, a condition key of S3 or of all services?"""
    folded = key.lower()
    return folded in _KEYS or any(folded.startswith(family) and len(folded) > len(family) for family in _FAMILIES)
